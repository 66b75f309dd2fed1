"""The stand-in for silent rows: with what it leaves out it is the layer's own likelihood."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import probrev as pr
from probrev.inference.gibbs.surrogate import fit_surrogate, log_neglected, surrogate_rows


@pytest.mark.slow
@pytest.mark.parametrize(("keep_prob", "noise_std", "gain"), [(0.6, 0.8, 0.3), (1.0, 2.0, 5.0)])
def test_surrogate_and_what_it_neglects_are_the_likelihood(keep_prob, noise_std, gain):
    """Differences between two points, against the law of each row written down."""
    rng = np.random.default_rng(0)
    layer = pr.Layer(rng.normal(size=(12, 3)), keep_prob, noise_std, gain)
    center, old, new = (rng.normal(size=(4, 12)) for _ in range(3))
    x = np.where(rng.uniform(size=(4, 12)) < 0.5, 0, gain * rng.exponential(size=(4, 12)))
    spread = rng.uniform(size=(4, 12))
    surrogate = fit_surrogate(layer, *map(jnp.asarray, (x, center, spread)))

    def likelihood(z):
        seen = stats.norm.logpdf(x / gain, z, noise_std)
        silent = np.log1p(-keep_prob * stats.norm.sf(-z / noise_std))
        return np.where(x > 0, seen, silent).sum(1)

    # The rows are a quadratic, given by its precision and its slope at the old point.
    rows = jax.tree.map(np.asarray, surrogate_rows(layer, surrogate, x, old))
    d = new - old
    quadratic = (rows.residual * d - 0.5 * rows.precision * d**2).sum(1)
    before, after = (log_neglected(layer, surrogate, x, jnp.asarray(z)) for z in (old, new))
    np.testing.assert_allclose(
        quadratic + after - before, likelihood(new) - likelihood(old), rtol=1e-9
    )
