"""No mask and no imaginary part is lost at any door that arrays come in by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import probrev as pr
from probrev.inverses.estimates import as_estimate
from probrev.nets.activation_profile import profile_activations
from probrev.plumbing.arrays import check_real
from probrev.posterior.posterior import from_draws
from tests.small_case import MODEL

W = np.random.default_rng(0).normal(size=(6, 4))
H = np.abs(W)
DOORS = {
    "x": lambda v: pr.Observations(v),
    "h": lambda v: pr.Observations(W, v),
    "weights": lambda v: pr.Layer(v),
    "noise_std": lambda v: pr.Layer(W, noise_std=v[0]),
    "keep_prob": lambda v: pr.Layer(W, list(v)),
    r"weights\[0\]": lambda v: pr.BoltzmannMachine([v], [0.0, 0.0]),
    r"biases\[1\]": lambda v: pr.BoltzmannMachine([W], [0.0, v[0]]),
    "inclusion_prob": lambda v: pr.SpikeAndSlab(4, v[0], pr.FiniteSlab([1.0], [1.0])),
    "values of a slab": lambda v: pr.FiniteSlab(v[0], np.full(4, 0.25)),
    "probs of a slab": lambda v: pr.FiniteSlab([1.0, 2.0, 3.0, 4.0], v[0]),
    "a bias array": lambda v: pr.FeedforwardNet.from_model(jax.random.key(0), MODEL, [v[0]]),
    "what inverse 'net' returns": lambda v: as_estimate("net", v, MODEL, pr.Observations(W)),
    "estimate": lambda v: pr.measure_similarity(v, H),
    "truth": lambda v: pr.measure_similarity(H, v),
}  # fmt: skip
DRAWN = {
    "h": lambda v: from_draws("mine", np.ma.stack([[v]]) if np.ma.isMA(v) else v[None, None], W),
    "x": lambda v: from_draws("mine", np.ones((4, 100, 6, 2)), v),
}
FITTED = {"h": pr.fit_prior, " h": profile_activations}


@pytest.mark.parametrize("doors", [DOORS, DRAWN, FITTED], ids=["made", "drawn", "fitted"])
def test_masks_and_imaginary_parts_are_refused_at_every_door(doors):
    for name, door in doors.items():
        with pytest.raises(ValueError, match=f"^{name.strip()} is a masked array, and its mask"):
            door(np.ma.masked_array(H, H > 1))
        with pytest.raises(ValueError, match=f"^{name.strip()} must be real numbers; got an array"):
            door(H + 1j)


@pytest.mark.parametrize(
    "value", [1, 2.5, True, [1, 2], W, W > 0, W.astype(np.int8), jnp.ones(3, jnp.bfloat16)]
)
def test_real_numbers_pass(value):
    check_real("v", value)
    jax.jit(lambda traced: check_real("v", traced))(value)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (["a", "b"], "v must be real numbers; got an array of <U1: convert it first"),
        ([None, 1.0], "v must be real numbers; got an array of object"),
        (jnp.ones(2) + 1j, "got an array of complex128"),
        (np.array(["2020-01-01"], "datetime64[D]"), "got an array of datetime64"),
        ([[1.0], [1.0, 2.0]], "v must be an array of real numbers; got list of uneven parts"),
    ],
)
def test_what_is_no_number_is_refused(value, match):
    with pytest.raises(ValueError, match=match):
        check_real("v", value)
