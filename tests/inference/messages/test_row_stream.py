"""Passing through rows: little more than W in memory, and rows on many devices as on one."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import probrev as pr
from probrev.inference.messages import message_check, messages, row_stream, weight_check
from probrev.inference.messages.row_stream import weigh_squares
from probrev.model import layer

RNG = np.random.default_rng(4)


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_squares_are_weighed_block_by_block(monkeypatch, rows):
    monkeypatch.setattr(row_stream, "BLOCK_ELEMENTS", rows * 5)
    weights, precision = RNG.normal(size=(23, 5)), RNG.uniform(size=(3, 23))
    found = weigh_squares(jnp.asarray(precision), jnp.asarray(weights))
    np.testing.assert_allclose(found, precision @ weights**2, rtol=1e-12)


@pytest.fixture(scope="module")
def wide():
    """A model whose W is many blocks, and its programs' arguments."""
    weights = RNG.normal(size=(8192, 512))
    model = pr.LayeredModel(
        pr.SpikeAndSlab(512, 0.05, dist.HalfNormal(0.3)), [pr.Layer(weights, 0.5, 0.7)]
    )
    return model, jnp.zeros((1, 8192))


def scratch_over_weights(program, model, *arguments, **options):
    """Memory that a program needs beside what it is given and gives, over that of W."""
    compiled = program.lower(*arguments, **options).compile()
    return compiled.memory_analysis().temp_size_in_bytes / model.layers[0].weights.nbytes


@pytest.mark.slow
@pytest.mark.parametrize("program", ["iterations", "sweeps", "figures", "cosines"])
def test_no_program_makes_another_w(wide, program):
    model, x = wide
    weights = model.layers[0].weights
    state = messages.init_messages(model, x)
    if program == "iterations":
        made = scratch_over_weights(messages.iterate_messages, model, state, model, x, 3, 1e-6)
    elif program == "sweeps":
        h, beliefs = jnp.zeros((4, 1, 512)), [one.belief for one in state.layers]
        arguments = jax.random.key(0), model, x, beliefs, h, 2, (None,)
        made = scratch_over_weights(message_check._run, model, *arguments)
    elif program == "figures":
        rows, columns = weight_check._scales(weights, None)
        made = max(
            scratch_over_weights(weight_check._scales, model, weights, None),
            scratch_over_weights(
                weight_check._largest_singular_value, model, weights, rows, columns
            ),
            scratch_over_weights(layer._largest, model, weights),
            scratch_over_weights(layer._mean_square, model, weights),
        )
    else:
        made = scratch_over_weights(weight_check._largest_cosine, model, weights[:256])
    assert made < 0.15


def test_cosines_are_looked_at_block_by_block(monkeypatch):
    weights = RNG.normal(size=(30, 11))
    whole = weight_check.check_weights(jnp.asarray(weights))
    monkeypatch.setattr(weight_check, "COSINE_ELEMENTS", 3 * 11)
    weight_check._largest_cosine.clear_cache()
    assert weight_check.check_weights(jnp.asarray(weights)).cosine == pytest.approx(whole.cosine)
    weight_check._largest_cosine.clear_cache()


SPREAD = """
import jax, numpy as np, numpyro
numpyro.enable_x64()
import probrev as pr
from probrev.inference.messages import row_stream
row_stream.BLOCK_ELEMENTS = 7 * 8
rng = np.random.default_rng(0)
weights = rng.normal(size=(80, 8))
prior = pr.SpikeAndSlab(8, 0.2, pr.FiniteSlab([0.6], [1.0]))

def passed(spread):
    layer = pr.Layer(spread(weights), 0.8, 0.5, bias=np.arange(80) / 100)
    model = pr.LayeredModel(prior, [layer])
    obs = model.simulate(jax.random.key(0), 2)
    return model, pr.message_passing(model, obs, num_draws=4, seed=1)

(_, one), (model, many) = passed(np.asarray), passed(pr.spread_rows)
for layer in model.layers:
    assert len(layer.weights.sharding.device_set) == 4
    assert layer.weights.addressable_shards[0].data.shape[0] * 4 == layer.n_visible
for name in ("mean", "var", "inclusion_prob"):
    np.testing.assert_allclose(getattr(many, name), getattr(one, name), rtol=1e-6, atol=1e-8)
assert one.status_reason == many.status_reason, (one.status_reason, many.status_reason)
try:
    pr.spread_rows(weights[:79])
except ValueError as error:
    print(error)
"""


@pytest.mark.slow
def test_rows_on_four_devices_as_on_one():
    flags = "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0"
    done = subprocess.run(
        [sys.executable, "-c", SPREAD],
        env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("weights of shape (n_visible, n_hidden), n_visible a multiple of")
