"""The bound on one support against quadrature of the model's own density, around any point."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions import HalfNormal
from scipy import stats

import probrev as pr
from probrev.inference.exact.integration.integration import unit_laws
from probrev.inference.exact.integration.support_bound import bound_log_mass
from probrev.inference.exact.integration.support_problem import list_supports, make_problems
from probrev.model.row_terms import gather_terms

N_VISIBLE = 8
GRID = np.linspace(0, 12, 20_001)
bound = jax.jit(bound_log_mass)


def integral(weights, keep_prob, noise_std, x):
    """Of p(h, x) over h > 0, one unit, by its definition."""
    z = GRID[:, None] * weights[:, 0]
    seen = np.log(keep_prob) + stats.norm.logpdf(x, z, noise_std)
    silent = np.log1p(-keep_prob * stats.norm.sf(-z / noise_std))
    log_joint = np.log(0.4) + stats.halfnorm.logpdf(GRID)
    log_joint = log_joint + np.where(x > 0, seen, silent).sum(1)
    return np.log(np.trapezoid(np.exp(log_joint), GRID))


@pytest.mark.parametrize(("keep_prob", "tight"), [(0.3, 0.5), (0.9, 1), (0.97, 5)])
def test_no_integral_of_one_unit_exceeds_its_bound(keep_prob, tight):
    """Where rows may be dropped, silent ones are not log-concave in h: bounds must allow for it."""
    rng = np.random.default_rng(0)
    gaps = []
    for _ in range(10):
        weights = rng.normal(size=(N_VISIBLE, 1)) + rng.uniform(-1, 2)
        x = rng.permutation([*rng.exponential(size=2), *np.zeros(N_VISIBLE - 2)])
        model = pr.LayeredModel(
            pr.SpikeAndSlab(1, 0.4, HalfNormal(1.0)), [pr.Layer(weights, keep_prob, 0.5, 1.0)]
        )
        rows = gather_terms(model.layers[0], x)
        problems = make_problems(rows, unit_laws(model.prior), list_supports(1, 1))
        problem = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), problems)
        points = [0.0, *rng.exponential(size=4)]
        expected = integral(weights, keep_prob, 0.5, x)
        found = [bound(problem, rows, jnp.array([point])) for point in points]
        gaps += list(np.array(found) - expected)
    assert min(gaps) > -1e-6
    assert min(gaps) < tight
