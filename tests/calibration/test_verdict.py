"""The verdict on synthetic ranks: its level over all quantities together, and its words."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import binom, norm

from probrev.calibration.verdict import LEVEL, Word, find, judge

FAMILIES = ["joint"] * 3 + ["units"] * 8


def table(z, status=None):
    """Simulations whose normal scores are z (simulation, quantity)."""
    size = len(z)
    status = ["ok"] * size if status is None else status
    return xr.Dataset(
        {
            "rank": (("simulation", "quantity"), norm.cdf(z)),
            "varies": (("simulation", "quantity"), np.ones(z.shape, dtype=bool)),
            "status": ("simulation", status),
            "reason": ("simulation", [f"is {one}" for one in status]),
        },
        coords={
            "quantity": [f"q{index}" for index in range(z.shape[1])],
            "family": ("quantity", FAMILIES[: z.shape[1]]),
        },
    )


def verdict_of(simulations, starts=None):
    return judge(simulations, find(simulations), starts or {})


def scores(rng, size=200):
    """Of quantities that depend on one another, as those of a right method do."""
    return 0.6 * rng.normal(size=(size, 1)) + 0.8 * rng.normal(size=(size, len(FAMILIES)))


def smallest(num_replicates):
    rng = np.random.default_rng(0)
    return np.array(
        [min(one.adjusted_p for one in find(table(scores(rng, 50)))) for _ in range(num_replicates)]
    )


def test_a_right_method_is_convicted_as_rarely_as_is_said():
    convicted = (smallest(100) <= 0.1).sum()
    assert binom.sf(convicted - 1, 100, 0.1) > 1e-3
    assert convicted > 0


@pytest.mark.slow
def test_the_level_holds_over_all_quantities():
    found = smallest(1200)
    for level in (LEVEL, 0.02):
        convicted = (found <= level).sum()
        assert binom.sf(convicted - 1, 1200, level) > 1e-3
    # Bonferroni loses little.
    assert convicted > 8


def test_nothing_speaks_against_it():
    z = scores(np.random.default_rng(1))
    found = verdict_of(table(z))
    assert found.word is Word.CALIBRATED
    assert not found.word.is_failure
    assert "with 200 simulations a posterior of a joint quantity 1.29 times" in found.sentence
    few = verdict_of(table(z[:40]))
    assert few.word is Word.UNDECIDED
    assert "simulations would see one of 1.5" in few.sentence


@pytest.mark.parametrize(
    ("scale", "shift", "how"),
    [
        (1.5, 0.0, "too narrow, by a factor of 1.50"),
        (0.6, 0.0, "too wide, by a factor of 1.67"),
        (1.0, 0.5, "too low, by 0.50"),
        (1.0, -0.5, "too high, by 0.50"),
    ],
)
def test_a_fault_is_named(scale, shift, how):
    z = scores(np.random.default_rng(2))
    z[:, 4] = shift + scale * (z[:, 4] - z[:, 4].mean()) / z[:, 4].std(ddof=1)
    found = verdict_of(table(z))
    assert found.word is Word.MISCALIBRATED
    assert found.word.is_failure
    assert "no draw from its posterior in q4 (p = " in found.sentence
    assert f"the posterior of q4 is {how}" in found.sentence


def test_many_units_do_not_weaken_joint_quantities():
    z = scores(np.random.default_rng(3))
    alone = find(table(z[:, :3]))[0].adjusted_p
    together = find(table(z))[0].adjusted_p
    assert together == pytest.approx(min(1, 2 * alone))


def test_what_never_varies_is_not_tested():
    simulations = table(scores(np.random.default_rng(4)))
    simulations["varies"][:, 2] = False
    assert [one.name for one in find(simulations)][:3] == ["q0", "q1", "q3"]


def test_posteriors_that_are_not_ok():
    z = scores(np.random.default_rng(5))
    some = ["ok"] * 195 + ["not converged"] * 5
    found = verdict_of(table(z, some))
    assert found.word is Word.CALIBRATED
    assert "5 of 200 posteriors are not ok" in found.sentence
    found = verdict_of(table(2 * z, ["ok"] * 180 + ["stuck"] * 20))
    assert found.word is Word.INCONCLUSIVE
    assert "20 of 200 posteriors are not ok: is stuck" in found.sentence
    assert "no draw from its posterior" in found.sentence


def test_chains_from_the_truth_convict():
    starts = {"starts": "disagrees", "starts_reason": "jointly"}
    found = verdict_of(table(scores(np.random.default_rng(6))), starts)
    assert found.word is Word.MISCALIBRATED
    assert "chains from the truth and blind ones disagree (jointly)" in found.sentence
