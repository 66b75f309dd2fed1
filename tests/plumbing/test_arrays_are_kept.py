"""What is made of a NumPy array stays as it was when its owner writes into the array."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import xarray as xr

import probrev as pr
from probrev.inverses.estimates import as_estimate
from probrev.nets.shadow.labelled import label_images
from probrev.plumbing.arrays import as_floats
from tests.small_case import LAYER, MODEL, SLAB

RNG = np.random.default_rng(0)
W, H = RNG.normal(size=(6, 4)), RNG.uniform(0.1, 0.9, (6, 4))
DRAWS = RNG.uniform(0.1, 0.9, (4, 100, 6, 2))
X = pr.Observations(W)
# From an array to what is kept of it, each time all doors of one object.
DOORS = {
    "layer": (W, lambda v: pr.Layer(v, v[0, :1].reshape(()) ** 2, 0.5, 1.0, bias=v[:, 1])),
    "x and h": (H, lambda v: pr.Observations(v, v, (v,), (v,), sites={"u": v})),
    "spike": (H[0], lambda v: pr.SpikeAndSlab(4, v, SLAB)),
    "slab": (H[0], lambda v: pr.KSparse(4, 2, dist.HalfNormal(v))),
    "log-quadratic slab": (H[0], lambda v: pr.SpikeAndSlab(4, 0.5, pr.LogQuadraticSlab(v, v, v))),
    "finite slab": (np.array([0.3, 0.7]), lambda v: pr.FiniteSlab(v, v)),
    "correlated": (
        np.eye(8), lambda v: pr.RectifiedGaussian.from_factors(v[0], v, 1 + v[1])
    ),
    "states": (H, lambda v: pr.FiniteStates(v, 0, 2)),
    "machine": (W, lambda v: pr.BoltzmannMachine([v], [v[:, 0].copy(), 0.0])),
    "net": (W, lambda v: pr.FeedforwardNet.from_weights([v], [v[0]])),
    "net's bias": (W[0], lambda v: pr.Bias(v, v)),
    "trained net": (W, lambda v: pr.TrainedNet(LAYER, v, v[0], v[1])),
    "estimate": (H, lambda v: as_estimate("mine", v, MODEL, X)),
    "images": (H, lambda v: label_images(v, np.zeros(6, int))),
    "draws": (
        DRAWS, lambda v: _numbers(pr.from_draws("mine", v, v[0, 0], sites={"u": v}))
    ),
    "draws from elsewhere": (
        DRAWS, lambda v: _numbers(pr.from_datatree(xr.Dataset({"h": (list("abcd"), v)}), v[0, 0]))
    ),
}  # fmt: skip


def _numbers(posterior):
    return [node.to_dataset().to_dict() for node in posterior.tree.subtree]


def _aligned(values, dtype=float):
    """A copy at an address that is a multiple of 64, which JAX would share."""
    memory = np.zeros(values.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    aligned = memory[start : start + values.nbytes].view(dtype).reshape(values.shape)
    aligned[...] = values
    return aligned


def _texts(tree):
    return [repr(np.asarray(leaf).tolist()) for leaf in jax.tree.leaves(tree)]


def test_jax_shares_memory_with_an_aligned_array():
    values = _aligned(W)
    shared = jnp.asarray(values, float)
    values[...] = 0
    assert not np.any(shared), "if JAX copies now, as_floats need not"


@pytest.mark.parametrize("door", DOORS)
def test_what_is_made_of_an_array_stays_as_it_was(door):
    values, make = DOORS[door]
    given = _aligned(values)
    made = make(given)
    before = _texts(made)
    given[...] = given[::-1] + 0.125
    assert _texts(made) == before


def test_a_read_only_memory_map_is_not_copied(tmp_path):
    np.save(tmp_path / "w.npy", W)
    weights = np.load(tmp_path / "w.npy", mmap_mode="r")
    assert pr.Layer(weights).weights.unsafe_buffer_pointer() == weights.ctypes.data
    writable = np.load(tmp_path / "w.npy", mmap_mode="r+")
    assert as_floats(writable).unsafe_buffer_pointer() != writable.ctypes.data
