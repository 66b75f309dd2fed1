"""How a sampler's section tells of the sites beside h."""

import arviz as az
import numpy as np

from probrev.posterior.posterior import from_draws
from probrev.report.samplers import site_tables

RNG = np.random.default_rng(0)
H = RNG.exponential(size=(4, 200, 2, 3))
X = np.ones((2, 5))


def test_each_site_has_a_row_of_its_worst_entry():
    walk = np.cumsum(RNG.normal(size=(4, 200, 2)), axis=1)
    sites = {"walk": walk, "fixed": np.full((4, 200, 2), 3.0)}
    posterior = from_draws("gibbs", H, X, sites=sites)
    (table,) = site_tables(posterior)
    assert [row[0] for row in table.rows] == ["walk", "fixed"]
    walk = posterior.sites["walk"]
    expected = (az.ess(walk).min(), az.ess(walk, method="tail").min(), az.rhat(walk).max())
    shown = [float(cell) for cell in table.rows[0][1:]]
    np.testing.assert_allclose(shown, [float(one) for one in expected], rtol=2e-3)
    assert table.rows[1][1:] == ["–"] * 3


def test_a_program_that_draws_h_alone_has_no_such_table():
    assert site_tables(from_draws("gibbs", H, X)) == []
