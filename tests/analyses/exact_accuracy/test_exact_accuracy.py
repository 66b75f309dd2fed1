"""Exact posteriors that strain integrals against plain ones, and the plain ones against others."""

import numpy as np
import pytest
from scipy import integrate

from analyses.exact_accuracy import __main__ as exact_accuracy
from analyses.exact_accuracy import cases, integrals, integrand, quadrature, sampling
from analyses.script import OtherRunError


@pytest.mark.slow
def test_forty_posteriors_lie_within_their_claims():
    seeds = [(2, seed) for seed in range(32)] + [(3, seed) for seed in range(8)]
    rows = {seed: exact_accuracy.measure(exact_accuracy.case_of(*seed)) for seed in seeds}
    outside = {seed: row for seed, row in rows.items() if not row["factor"] <= 1}
    assert not outside
    assert np.mean([row["claim"] <= 1e-3 for row in rows.values()]) >= 0.98


@pytest.mark.slow
def test_steps_along_the_axes_are_not_missed():
    """Layers so thin that both rules passed them by: of steep rows, and of a seen row's ridge."""
    for seed in ((2, 4), (2, 63), (2, 84), (3, 80)):
        row = exact_accuracy.measure(exact_accuracy.case_of(*seed))
        assert row["factor"] <= 1
        assert row["claim"] <= 1e-3


@pytest.mark.slow
def test_computed_and_plotted(tmp_path, capsys):
    exact_accuracy.compute(tmp_path, num_two=2, num_three=0, num_four=1)
    assert exact_accuracy.plot(tmp_path).stat().st_size > 10_000
    told = capsys.readouterr().out
    assert "at most 2 active: 0 of 2 lie outside" in told
    assert "at most 4 active: 0 of 1 lie outside" in told
    # It is there already, and is not computed again; of other sizes it is refused.
    exact_accuracy.compute(tmp_path, num_two=2, num_three=0, num_four=1)
    assert "posteriors" not in capsys.readouterr().err
    with pytest.raises(OtherRunError, match="holds another run"):
        exact_accuracy.compute(tmp_path, num_two=3, num_three=0, num_four=1)


@pytest.mark.parametrize("seed", [3, 8, 11])
def test_plain_integrals_against_adaptive_cubature(seed):
    """One support of two units by scipy, on a case without steep rows."""
    case = cases.draw_case(seed, cases.SHAPES[2][seed % 3])
    g = integrals.make_integrand(case, (0, 1))
    top, values = integrals.integrate(g)
    ends = g.far
    middle, _ = integrate.dblquad(
        lambda b, a: np.exp(g(np.array([a, b])) - top), 0, ends[0], 0, ends[1], epsrel=1e-6
    )
    np.testing.assert_allclose(values[0, 0], middle, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("integral", [sampling.sample, quadrature.integrate_space])
def test_three_units_against_lines(integral):
    """Three units that no row is coupled through: a product of line integrals."""
    case = cases.draw_case(3, (4, 3, 3))
    free = case._replace(weights=np.diag([0.9, -1.4, 0.6, 1.0])[:, :3], x=np.zeros(4))
    g = integrals.make_integrand(free, (0, 1, 2))
    top, values = integral(g)
    mean, error = values.mean(0), values.std(0, ddof=1) / np.sqrt(len(values))
    log_whole = g.constant
    for axis in range(3):
        one = g._replace(
            constant=0.0,
            linear=g.linear[axis : axis + 1],
            precision=g.precision[axis : axis + 1, axis : axis + 1],
            silent=g.silent[axis : axis + 1, axis : axis + 1],
            far=g.far[axis : axis + 1],
            offset=np.zeros(1),
        )
        log_scale, line = integrals.integrate(one)
        log_whole += log_scale + np.log(line[0, 0])
    log_whole += integrand.log_silence(np.zeros(1), free.keep_prob)
    gap = mean[0] - np.exp(log_whole - top)
    assert abs(gap) < 5 * error[0] + 1e-6 * mean[0]
