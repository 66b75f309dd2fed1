"""A model file with what it adds, against calling its functions by hand."""

import jax
import numpy as np
import pytest

import probrev as pr
from probrev.model.observations import Origin
from probrev.runs import registry
from probrev.runs.built_model import build_model

SOURCE = """
import numpy as np, probrev as pr

def build(n_hidden: int = 3, noise_std: float = 0.5):
    weights = np.random.default_rng(0).normal(size=(7, n_hidden))
    prior = pr.SpikeAndSlab(n_hidden, 0.3, pr.FiniteSlab([1.0], [1.0]))
    return pr.LayeredModel(prior, [pr.Layer(weights, 0.5, noise_std)])
"""
ZERO = """
def inverses(model, n_hidden):
    return {"zero": lambda x: np.zeros((len(x), n_hidden))}
"""
ONES = """
def observe(key, model, num_obs):
    return pr.Observations(np.ones((num_obs, 7)))
"""


def build_from(tmp_path, more, **settings):
    path = tmp_path / "toy.py"
    path.write_text(SOURCE + more, encoding="utf-8")
    return build_model(registry.load(str(path)), settings)


def test_own_inverses_stand_beside_the_ladder(tmp_path):
    built = build_from(tmp_path, ZERO, n_hidden=4)
    assert built.arguments == {"n_hidden": 4, "noise_std": 0.5}
    assert built.inverse_names == (*pr.list_rungs(built.model), "zero")
    key, x = jax.random.key(1), np.abs(np.random.default_rng(1).normal(size=(5, 7)))
    found = built.inverses(key, ["zero", "theory"])
    assert list(found) == ["zero", "theory"]
    np.testing.assert_array_equal(found["zero"](x), np.zeros((5, 4)))
    by_hand = pr.build_ladder(key, built.model, ["theory"])["theory"]
    np.testing.assert_array_equal(found["theory"](x), by_hand(x))


@pytest.mark.parametrize(
    ("inverses", "error", "message"),
    [
        ("[]", TypeError, "inverses must return a dict of callables by name; got list"),
        ("{'theory': abs}", ValueError, "inverses has 'theory', which is a rung of the ladder"),
    ],
)
def test_inverses_that_are_none_are_refused(tmp_path, inverses, error, message):
    with pytest.raises(error, match=message):
        build_from(tmp_path, f"\ndef inverses(model):\n    return {inverses}\n")


def test_observations_are_the_models_or_the_files_own(tmp_path):
    simulated = build_from(tmp_path, "").observe(jax.random.key(2), 6)
    assert (simulated.num_obs, simulated.origin) == (6, Origin.MODEL)
    more = (
        "\ndef observe(key, model, num_obs):\n    return pr.Observations(np.ones((num_obs, 7)))\n"
    )
    own = build_from(tmp_path, more).observe(jax.random.key(2), 6)
    assert own.origin is Origin.ELSEWHERE
    np.testing.assert_array_equal(own.x, np.ones((6, 7)))
    nothing = build_from(tmp_path, "\ndef observe(key, model, num_obs):\n    return [1.0]\n")
    with pytest.raises(TypeError, match=r"observe must return probrev\.Observations; got list"):
        nothing.observe(jax.random.key(2), 6)
