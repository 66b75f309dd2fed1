"""Bounds of cells and of the first box against the integrand itself, at many points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions import Exponential, HalfNormal, TruncatedNormal
from scipy import integrate

import probrev as pr
from probrev.inference.exact.integration.cell_bound import bound_cells, grid
from probrev.inference.exact.integration.integration import unit_laws
from probrev.inference.exact.integration.support_box import first_box, place
from probrev.inference.exact.integration.support_problem import list_supports, make_problems
from probrev.inference.exact.integration.support_zoom import locate
from probrev.model.row_terms import gather_terms
from tests.marks import by_hand

SLABS = (
    HalfNormal(np.array([0.8, 2.0, 0.3])),
    Exponential(np.array([0.6, 3.0, 1.4])),
    TruncatedNormal(np.array([0.7, -1.0, 0.2]), np.array([0.5, 0.9, 1.5]), low=0.0),
)


def make(seed):
    """A problem of two units out of three, of every kind in turn."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(5, 3))
    if seed % 2:
        weights = weights[:, :1] * [1.0, 0.8, -1.2] + 0.05 * weights
    keep_prob = (0.3, 0.9, 1.0)[seed % 3]
    x = np.where(rng.uniform(size=5) < 0.4, rng.uniform(0.1, 2, 5), 0.0)
    model = pr.LayeredModel(
        pr.SpikeAndSlab(3, 0.3, SLABS[(seed // 2) % 3], 2), [pr.Layer(weights, keep_prob, 0.4)]
    )
    rows = gather_terms(model.layers[0], x)
    problems = make_problems(rows, unit_laws(model.prior), list_supports(3, 2)[1:2])
    return problems, rows


def log_g(problem, rows, h):
    """The integrand by its definition, at points h >= 0."""
    gaussian = problem.constant + h @ problem.linear - 0.5 * ((h @ problem.precision) * h).sum(1)
    return gaussian + rows.log_mass(h @ problem.censored.T + rows.offset[None])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [*range(6), *by_hand(*range(6, 12))])
def test_no_cell_exceeds_its_bound(seed):
    """Mean values over points of every cell times its volume, before and after zooming."""
    problems, rows = make(seed)
    problem = jax.tree.map(lambda leaf: leaf[0], problems)
    wide = first_box(problem, rows, jnp.inf, jnp.zeros(2))
    boxes = locate(jax.tree.map(np.asarray, problems), rows)
    rng = np.random.default_rng(seed)
    for box in (wide, jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), boxes)):
        for number in (3, 12):
            cells = grid(jnp.zeros(2), jnp.ones(2), number)
            bound = np.asarray(bound_cells(problem, rows, box, cells).log_bound)
            points = rng.uniform(size=(40, len(bound), 2))
            fraction = np.asarray(cells.low) + np.asarray(cells.high - cells.low) * points
            h, log_slope = place(box, fraction.reshape(-1, 2))
            value = np.asarray(log_g(problem, rows, h) + log_slope).reshape(40, -1)
            # Not an average: no point's value times the cell's share may exceed the bound.
            assert np.all(value.max(0) - 2 * np.log(number) <= bound + 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [*range(6), *by_hand(*range(6, 12))])
def test_the_first_box_holds_what_is_above_its_level(seed):
    """Every h with the Gaussian part above the level lies inside, and the rest is what it says."""
    problems, rows = make(seed)
    problem = jax.tree.map(lambda leaf: leaf[0], problems)
    box = first_box(problem, rows, jnp.inf, jnp.zeros(2))
    rng = np.random.default_rng(seed)
    far = np.asarray(box.width * jnp.diag(box.factor))
    # Over all orders of magnitude, and beyond the caps.
    h = 3 * far * 10 ** rng.uniform(-4, 0, (200_000, 2))
    log_value = log_g(problem, rows, h)
    peak = float(log_g(problem, rows, box.center[None])[0])
    u = np.linalg.solve(np.asarray(box.factor), (h - np.asarray(box.center)).T).T
    inside = (
        (u >= np.asarray(box.low)) & (u <= np.asarray(box.high)) & (h <= far * (1 + 1e-9))
    ).all(1)
    assert np.all(inside[np.asarray(log_value) >= peak - 27.9])
    assert inside.any()
    assert not inside.all()


@pytest.mark.slow
def test_what_is_given_up_is_at_least_what_is_missing():
    """A box drawn around a tenth of the mass says so: outside is no less than what it lacks."""
    from probrev.inference.exact.integration.support_zoom import Known

    problems, rows = make(4)
    problems = jax.tree.map(np.asarray, problems)
    problem = jax.tree.map(lambda leaf: leaf[0], problems)

    def density(b, a):
        return np.exp(float(log_g(problem, rows, np.array([[a, b]]))[0]))

    whole = integrate.dblquad(density, 0, 6, 0, 6, epsrel=1e-5)[0]
    for excess in (0.0, 8.0, 12.0):
        known = Known(np.log([whole]) + excess, np.zeros((1, 2)))
        box = jax.tree.map(lambda leaf: leaf[0], locate(problems, rows, known))
        node, weight = np.polynomial.legendre.leggauss(60)
        pairs = np.stack(np.meshgrid((node + 1) / 2, (node + 1) / 2), -1).reshape(-1, 2)
        h, log_slope = place(jax.tree.map(jnp.asarray, box), jnp.asarray(pairs))
        inside = np.exp(log_g(problem, rows, h) + log_slope) @ np.outer(weight, weight).ravel() / 4
        assert whole - inside <= np.exp(box.outside) + 1e-4 * whole
