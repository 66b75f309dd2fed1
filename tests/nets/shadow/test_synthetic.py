"""Drawn inputs against theory's moments over random weights, and against `Layer`, going down."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import probrev as pr
from tests.nets.shadow.small_net import NET, WEIGHTS, X, forward, relu

KEY = jax.random.key(1)


def test_moments_over_random_weights():
    """E[W^T x~] = h and E||x~||^2 = 2 ||h||^2 / (rho n), by fresh W for each of many draws."""
    n, m, rho, repeats = 120, 6, 0.25, 4000
    h = np.array([0.0, 1.3, 0.4, 0.0, 2.1, 0.2])

    @jax.jit
    @jax.vmap
    def draw(key):
        key_weights, key_x = jax.random.split(key)
        # Not of unit variance: the gain makes up for it.
        W = 0.3 * jax.random.normal(key_weights, (n, m))
        # x = 0 and b = h give the top hidden layer h.
        net = pr.Classifier((W, jnp.ones((m, 2))), (jnp.asarray(h), jnp.zeros(2)))
        shadow = pr.Shadow(keep_prob=rho, gain="readout")
        ((_, x),) = pr.draw_shadow(key_x, net, jnp.zeros((1, n)), shadow)
        return (x @ W)[0], (x**2).sum() * 0.3**2, (x > 0).mean()

    readouts, energies, active = map(np.asarray, draw(jax.random.split(KEY, repeats)))
    s2 = (h**2).sum()
    # The gain is from this W's mean square, and so is the readout's: no fluctuation of n m entries.
    error = readouts.std(0) / np.sqrt(repeats)
    assert (np.abs(readouts.mean(0) - h) < 4 * error + 1e-3).all()
    np.testing.assert_allclose(
        readouts.var(0), 2 * (s2 + 2 * h**2) / (rho * n) - h**2 / n, rtol=0.1
    )
    assert (
        abs(energies.mean() / (2 * s2 / (rho * n)) - 1)
        < 4 * energies.std() / energies.mean() / np.sqrt(repeats) + 0.01
    )
    assert abs(active.mean() - rho / 2) < 4 * np.sqrt(rho / 2 / n / repeats)


def test_a_layer_of_the_model_draws_the_same():
    """At theory's gain, x~ is what `Layer` with these weights generates."""
    shadow = pr.Shadow(mode="per_layer", keep_prob=0.5, gain="readout")
    drawn = pr.draw_shadow(KEY, NET, X, shadow)
    assert [one.layer for one in drawn] == [0, 1]
    for one in drawn:
        layer = pr.Layer(WEIGHTS[one.layer], keep_prob=0.5)
        mean = layer.gain * relu(forward(X)[one.layer + 1] @ WEIGHTS[one.layer].T)
        kept = np.asarray(one.x) > 0
        np.testing.assert_allclose(np.where(kept, one.x, 0), np.where(kept, mean, 0), rtol=1e-12)
        assert 0.2 < kept[np.asarray(mean) > 0].mean() < 0.8


def test_end_to_end_goes_down_from_the_top():
    x, below, top, _ = forward(X)
    ((layer, drawn),) = pr.draw_shadow(KEY, NET, X, pr.Shadow(keep_prob=1.0))
    again = relu(top @ WEIGHTS[1].T)
    again *= np.sqrt((below**2).sum() / (again**2).sum())
    expected = relu(again @ WEIGHTS[0].T)
    expected *= np.sqrt((x**2).sum() / (expected**2).sum())
    assert layer == 0
    np.testing.assert_allclose(drawn, expected, rtol=1e-12)


@pytest.mark.parametrize("mode", ["end_to_end", "per_layer"])
def test_the_energy_is_that_of_real_inputs(mode):
    x = np.repeat(X, 3000, axis=0)
    for layer, drawn in pr.draw_shadow(KEY, NET, x, pr.Shadow(mode=mode, keep_prob=0.3)):
        ratio = (np.asarray(drawn) ** 2).sum() / (forward(X)[layer] ** 2).sum() / 3000
        assert abs(ratio - 1) < 0.05


def test_a_net_that_never_fires_draws_nothing():
    silent = pr.Classifier(NET.weights, tuple(bias - 100 for bias in NET.biases))
    for mode in ("end_to_end", "per_layer"):
        for _, drawn in pr.draw_shadow(KEY, silent, X, pr.Shadow(mode=mode)):
            np.testing.assert_array_equal(drawn, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": -0.1}, "weight must be a finite number, at least 0; got -0.1"),
        ({"weight": np.inf}, "weight must be a finite number"),
        ({"mode": "sideways"}, 'mode must be "end_to_end" or "per_layer"; got \'sideways\''),
        ({"keep_prob": 0.0}, r"keep_prob must lie in \(0, 1\]"),
        ({"gain": 2.0}, 'gain must be "energy" or "readout"; got 2.0'),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        pr.Shadow(**settings)
