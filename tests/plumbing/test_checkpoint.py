"""Checkpoints: known again by any process, and never the end of the run that writes them."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import probrev as pr
from probrev.plumbing import checkpoint
from probrev.plumbing.checkpoint import fingerprint, load_checkpoint, save_checkpoint
from tests.small_case import LAYER, MODEL, SLAB

TRUNCATED = pr.LayeredModel(
    pr.SpikeAndSlab(4, 0.3, dist.TruncatedNormal(0.5, 1.5, low=0.0)), [LAYER]
)


@pytest.mark.parametrize("model", [MODEL, TRUNCATED], ids=["finite", "truncated"])
def test_a_fingerprint_does_not_depend_on_the_order_of_a_set(monkeypatch, model):
    """Which string hashing changes from process to process: NumPyro flattens in such an order."""
    before, order = fingerprint(model), str(jax.tree.flatten(model))
    for name in ("gather_pytree_data_fields", "gather_pytree_aux_fields"):
        plain = getattr(dist.Distribution, name).__func__
        turned = classmethod(lambda cls, plain=plain: plain(cls)[::-1])
        monkeypatch.setattr(dist.Distribution, name, turned)
    assert str(jax.tree.flatten(model)) != order
    assert fingerprint(model) == before


def test_fingerprints_differ_where_anything_does():
    def one(x):
        return x in {"a", "b"}

    runs = [
        MODEL, TRUNCATED, {"a": 1}, {"b": 1}, {"a": 1.0}, {"a": None}, [1], (1,), "a", "b", one,
        np.zeros(3), np.zeros((3, 1)), np.zeros(3, np.float32), jax.random.key(0),
        jax.random.key(1), pr.SpikeAndSlab(4, 0.3, SLAB), pr.SpikeAndSlab(4, 0.3, SLAB, 3),
        pr.KSparse(4, 2, SLAB), pr.KSparse(4, 2, pr.FiniteSlab([1.7, 0.6], [0.6, 0.4])),
        pr.KSparse(4, 2, dist.HalfNormal(2.0)), pr.KSparse(4, 2, dist.Exponential(2.0)),
        dist.Normal(1.0, 2.0), dist.Normal(2.0, 1.0),
    ]  # fmt: skip
    assert len({fingerprint(run) for run in runs}) == len(runs)


def test_a_checkpoint_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch):
    run, kept = ("run", np.zeros(2)), [np.ones((3, 2))]
    path = tmp_path / "run.npz"
    save_checkpoint(path, run, np.arange(2.0), 3, kept)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.np, "savez", full)
    with pytest.warns(RuntimeWarning, match=r"run.npz could not be written \(No space left on"):
        save_checkpoint(path, run, np.arange(2.0), 4, kept)
    monkeypatch.undo()
    state, done, draws = load_checkpoint(path, run, np.ones(2))
    assert done == 3
    np.testing.assert_array_equal(state, [0, 1])
    np.testing.assert_array_equal(draws[0], kept[0])
    assert [one.name for one in tmp_path.iterdir()] == ["run.npz"]
