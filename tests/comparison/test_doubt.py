"""What forbids a posterior to judge: every piece of evidence, and the word that it earns."""

import pandas as pd
import pytest

from probrev.comparison.doubt import doubt_starts, find_doubt, is_claim_open
from probrev.comparison.metrics.case import POSTERIOR, Row
from probrev.comparison.verdict import Word
from probrev.model.observations import Origin
from probrev.nets.fitting.checks import Check
from probrev.posterior.status import Status
from tests import small_case


def table_of(*rows):
    return pd.DataFrame(rows, columns=Row._fields).assign(posterior="exact")


FINE = (
    Row("truth_rank_p", POSTERIOR, 0.002),
    Row("claimed_over_actual_999", POSTERIOR, 1.4, low=0.99, high=1.9),
    Row("predictive_surprise_norm", POSTERIOR, 0.2),
    Row("predictive_p_norm", POSTERIOR, 4e-4),
    # Shown, and not tested.
    Row("predictive_surprise_largest", POSTERIOR, 0.9),
    Row("predictive_p_largest", POSTERIOR, 1e-9),
)
EVIDENCE = {
    "rank": Row("truth_rank_p", POSTERIOR, 0.001),
    "too sure": Row("claimed_over_actual_999", POSTERIOR, 0.7, low=0.5, high=0.99),
    "too unsure": Row("claimed_over_actual_999", POSTERIOR, 1.4, low=1.01, high=1.9),
    "x": Row("predictive_p_norm", POSTERIOR, 3e-4),
}


def doubt(origin, *rows, posterior=None):
    return find_doubt("exact", posterior or small_case.exact(), origin, table_of(*rows))


@pytest.mark.parametrize("origin", list(Origin))
def test_nothing_speaks_against_a_posterior_that_passes(origin):
    assert doubt(origin, *FINE) is None
    unknown = Row("claimed_over_actual_999", POSTERIOR, 3.0)  # few observations: no interval
    assert doubt(origin, unknown) is None


@pytest.mark.parametrize("evidence", EVIDENCE)
@pytest.mark.parametrize("origin", list(Origin))
def test_evidence_convicts_the_model_only_where_it_may_be_wrong(origin, evidence):
    other = [row for row in FINE if row.metric != EVIDENCE[evidence].metric]
    found = doubt(origin, *other, EVIDENCE[evidence])
    assert found.word is (Word.INCONCLUSIVE if origin is Origin.MODEL else Word.MISFIT)
    assert "exact" in found.reason
    # Of an approximation it may be the approximation that is at fault.
    rough = doubt(origin, *other, EVIDENCE[evidence], posterior=small_case.approximation())
    assert rough.word is Word.INCONCLUSIVE


def test_all_evidence_is_named():
    surprise = Row("predictive_surprise_norm", POSTERIOR, 0.4)
    found = doubt(Origin.LAYERS, EVIDENCE["rank"], EVIDENCE["too sure"], EVIDENCE["x"], surprise)
    assert "rank test, p = 0.001" in found.reason
    assert "claims 0.70 [0.50, 0.99] of the squared error that it makes" in found.reason
    assert "40% of the observations have a norm outside the central 90 %" in found.reason


def test_its_own_status_comes_first():
    tree = small_case.sampler().tree.copy()
    tree.attrs |= {"status": "stuck", "status_reason": "two chains apart"}
    posterior = type(small_case.sampler())(tree)
    assert posterior.status is Status.STUCK
    found = doubt(Origin.LAYERS, EVIDENCE["rank"], posterior=posterior)
    assert found == (Word.INCONCLUSIVE, "exact is stuck (two chains apart)")


GATE = Check("zeros", 0.002, float("nan"), "within 0.01", True, "Zeros are as they are.")
FAILED = GATE._replace(name="above null", holds=False, sentence="The layer does not carry x.")
BESIDE = Check("tied share", 0.3, float("nan"), "", True, "W^T gives 0.30 of a decoder.")


def fitted_doubt(*rows, checks=(GATE, BESIDE)):
    table = table_of(*rows)
    found = find_doubt("exact", small_case.exact(), Origin.LAYERS, table, checks=checks)
    return found, is_claim_open("exact", table)


def claim(value, low, high):
    return Row("claimed_over_actual", POSTERIOR, value, low=low, high=high)


def test_a_failing_gate_comes_first():
    found, _ = fitted_doubt(*FINE, claim(1.0, 0.9, 1.1), checks=(GATE, FAILED, BESIDE))
    assert found == (Word.MISFIT, "The layer does not carry x")


@pytest.mark.parametrize(
    ("interval", "misfits", "is_open"),
    [
        ((0.78, 1.29), False, False),
        ((0.76, 1.2), False, True),
        ((0.9, 1.31), False, True),
        ((1.31, 1.9), True, True),
        ((0.5, 0.76), True, True),
        ((float("nan"), float("nan")), False, True),
    ],
)
def test_under_a_fitted_prior_the_claim_must_be_within_a_factor(interval, misfits, is_open):
    found, opened = fitted_doubt(
        EVIDENCE["rank"], EVIDENCE["too sure"], claim(sum(interval) / 2, *interval)
    )
    assert (found is not None) == misfits
    assert opened == is_open
    if misfits:
        assert found.word is Word.MISFIT
        assert "the prior does not fit h: exact claims" in found.reason


def test_x_that_a_fitted_model_does_not_predict_is_a_misfit_still():
    surprise = Row("predictive_surprise_norm", POSTERIOR, 0.4)
    found, _ = fitted_doubt(EVIDENCE["x"], surprise, claim(1.0, 0.9, 1.1))
    assert found.word is Word.MISFIT


def test_chains_from_the_truth_must_agree():
    def said(outcome):
        return doubt_starts("gibbs", {"starts": outcome, "starts_reason": "unit 3"})

    assert not said("agrees")
    assert said("disagrees") == "gibbs from the h that made x: its chains end elsewhere (unit 3)"
    assert said("unchecked") == "gibbs from the h that made x: its chains say nothing (unit 3)"
