"""A loaded run has its models again: the same numbers, or none and a reason."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import probrev as pr
from probrev.comparison.models import Models
from probrev.model.observations import same_numbers
from probrev.posterior.posterior import from_draws
from probrev.runs import registry
from tests import small_case
from tests.small_case import LAYER, MODEL, OTHER

MODEL_FILE = """
'''A prior that is a program.'''
import numpyro, numpyro.distributions as dist
import numpy as np
import probrev as pr

def build(scale: float = 0.5, seed: int = 0):
    '''Builds it.'''
    def prior():
        rate = numpyro.sample("rate", dist.Exponential(1.0))
        return rate * numpyro.sample("value", dist.HalfNormal(scale).expand([3]).to_event(1))
    weights = np.random.default_rng(seed).normal(size=(6, 3))
    return pr.LayeredModel(prior, [pr.Layer(weights, 0.7, 1.0)])
"""


def program():
    return numpyro.sample("h", dist.HalfNormal(0.5).expand([4]).to_event(1))


def other_program():
    return numpyro.sample("h", dist.HalfNormal(0.6).expand([4]).to_event(1))


@pytest.fixture(scope="module")
def result():
    """Two models on one x: what else is in the run is the same for both."""
    draws = np.random.default_rng(0).choice([0.0, 0.6], (2, 20, 6, 4))
    drawn = from_draws("mine", draws, small_case.observe().x, model=MODEL)
    posteriors = {"own": drawn, "other": drawn}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("probrev.comparison.compare.noise_curve", lambda key, model: None)
        run = pr.compare(MODEL, small_case.observe(), {"nil": lambda x: x[:, :4] * 0}, posteriors)
    assert run.model is run.posteriors["other"].model is MODEL
    return replace(run, models=Models(MODEL, {"own": MODEL, "other": OTHER}))


def saved(result, path, models, **provenance):
    """The run with other models, as it is read again."""
    tree = result.tree.copy()
    tree.attrs |= {name: json.dumps(value) for name, value in provenance.items()}
    replace(result, tree=tree, models=models).save(path)
    return path


@pytest.mark.slow
def test_each_posterior_has_its_own_again(result, tmp_path):
    result.save(tmp_path / "run.nc")
    again = pr.load(tmp_path / "run.nc")
    assert again.models.why_unknown == ""
    assert same_numbers(again.model, MODEL)
    assert same_numbers(again.posteriors["own"].model, MODEL)
    assert same_numbers(again.posteriors["other"].model, OTHER)
    assert again.posteriors["own"].model is again.model
    # The weights, which both have, are there once.
    shapes = [one.shape for one in again.tree["models"].data_vars.values()]
    assert shapes.count(LAYER.weights.shape) == 1
    again.save(tmp_path / "copy.nc")
    assert same_numbers(pr.load(tmp_path / "copy.nc").model, MODEL)


@pytest.mark.slow
def test_numbers_that_were_changed_are_not_believed(result, tmp_path):
    result.save(tmp_path / "run.nc")
    tree = pr.load(tmp_path / "run.nc").tree
    name = next(n for n, one in tree["models"].data_vars.items() if one.shape == (12, 4))
    tree[f"models/{name}"][3, 1] += 1e-12
    pr.Comparison(tree).save(tmp_path / "changed.nc")
    changed = pr.load(tmp_path / "changed.nc")
    assert changed.model is None
    assert "this LayeredModel has other numbers, or other parts" in changed.models.why_unknown


@pytest.mark.slow
def test_a_model_with_functions_is_given_again(result, tmp_path):
    made = pr.LayeredModel(program, [LAYER])
    path = saved(result, tmp_path / "run.nc", Models(MODEL, {"own": MODEL, "other": made}))
    unknown = pr.load(path)
    assert same_numbers(unknown.model, MODEL)
    assert unknown.posteriors["other"].model is None
    assert unknown.models.why_unknown == (
        "LayeredModel: program is a function, and cannot be stored as numbers; give pr.load, or "
        "pr.verify, the model itself: pr.load(path, model=...)"
    )
    assert pr.load(path, model=made).posteriors["other"].model is made
    by_name = pr.load(path, model={"other": made})
    assert by_name.posteriors["other"].model is made
    assert by_name.models.why_unknown == ""
    for wrong, match in (
        (pr.LayeredModel(other_program, [LAYER]), "does not simulate what the run's did"),
        (replace(made, layers=[replace(LAYER, noise_std=0.8)]), "other numbers, or other parts"),
        ({"other": MODEL}, "other numbers, or other parts"),
        (pr.BoltzmannMachine([np.ones((12, 4))], [0, 0]), "is a LayeredModel, and this is a Boltz"),
        ({"nobody": made}, "model names 'nobody', which is none of the run's posteriors"),
    ):
        with pytest.raises(ValueError, match=match):
            pr.load(path, model=wrong)


@pytest.mark.slow
def test_a_model_file_is_run_again_only_if_it_is_as_it_was(result, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(MODEL_FILE)
    made = registry.load(str(file))(scale=0.4)
    source = {"model": str(file), "model_source": MODEL_FILE, "parameters": {"scale": 0.4}}
    models = Models(made, {"own": made, "other": made})
    again = pr.load(saved(result, tmp_path / "run.nc", models, **source))
    assert again.models.why_unknown == ""
    assert again.model is again.posteriors["own"].model
    key = jax.random.key(5)
    np.testing.assert_array_equal(again.model.simulate(key, 2).x, made.simulate(key, 2).x)
    # Other parameters than the run's models had.
    odd = source | {"parameters": {"scale": 0.5}}
    wrong = pr.load(saved(result, tmp_path / "odd.nc", models, **odd))
    assert wrong.model is None
    assert "made again by its file: this LayeredModel does not simulate" in wrong.models.why_unknown
    file.write_text(MODEL_FILE + "\nraise SystemExit('it was run')\n")
    changed = pr.load(tmp_path / "run.nc")
    assert changed.model is None
    assert (
        "is not as it was; give pr.load, or pr.verify, the model itself"
        in changed.models.why_unknown
    )
    file.unlink()
    assert "no model file" in pr.load(tmp_path / "run.nc").models.why_unknown


def test_numbers_of_64_bits_are_not_cut_short(result, tmp_path):
    result.save(tmp_path / "run.nc")
    with jax.enable_x64(False):
        again = pr.load(tmp_path / "run.nc")
    assert again.model is None
    assert "call numpyro.enable_x64() before pr.load" in again.models.why_unknown
    assert jnp.zeros(1).dtype == np.float64


def test_a_run_without_models(result, tmp_path):
    pr.Comparison(result.tree).save(tmp_path / "run.nc")
    again = pr.load(tmp_path / "run.nc")
    assert again.model is None
    assert again.models.why_unknown == "the run was saved without its models"
    with pytest.raises(ValueError, match="has nothing to hold a model against"):
        pr.load(tmp_path / "run.nc", model=MODEL)
