"""Words and figures of a verdict."""

import math

import numpy as np
import pytest

from probrev.comparison.metrics.log_ratio import FEWEST_OBSERVATIONS
from probrev.comparison.verdict import (
    MOST_OBSERVATIONS,
    Doubt,
    Ratio,
    Word,
    count_decimals,
    judge,
)
from probrev.model.observations import Origin

RATIO = Ratio("net", "exact", 1.3, 1.2, 1.4, 0.95, 32, Origin.MODEL, True, True)


def say(low, high, ratio=1.3, *, doubt=None, **changes):
    found = RATIO._replace(value=ratio, low=low, high=high, **changes)
    return judge(found, setting="noise_std = 1.4", doubt=doubt)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.98, 1.09, "as good as Bayes"),
        (0.98, 1.1, "near"),
        (1.2, 1.49, "near"),
        (1.2, 1.5, "undecided"),
        (1.5, 1.9, "undecided"),
        (1.51, 1.9, "far"),
        (0.9, 4.0, "undecided"),
        (math.nan, math.nan, "unjudged"),
    ],
)
def test_words_follow_the_interval(low, high, word):
    assert say(low, high).word == word


def test_sentence_holds_every_figure():
    verdict = say(1.234, 1.449, ratio=1.341, spares_truth=False)
    assert verdict.sentence == (
        "net is near Bayesian inference "
        "(risk / Bayes risk = 1.34 [1.23, 1.45] at noise_std = 1.4, against exact)"
    )
    assert verdict[:8] == ("net", "exact", Word.NEAR, 1.341, 1.234, 1.449, 0.95, 32)


def test_sentence_says_what_the_ratio_is():
    spared = "1 + excess risk / posterior variance = 1.30"
    assert spared in say(1.2, 1.4).sentence
    assert spared in say(1.2, 1.4, has_truth=False, spares_truth=False).sentence
    assert spared not in say(1.2, 1.4, spares_truth=False).sentence


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"origin": Origin.ELSEWHERE},
            "the model's layers are not known to have made x; obs.simulated_by(model) says so",
        ),
        ({"num_obs": FEWEST_OBSERVATIONS - 1}, "exact covers 15 observations, wanted at least 16"),
        ({"num_obs": 1}, "exact covers 1 observation, wanted at least 16"),
    ],
)
def test_some_ratios_get_no_word(changes, reason):
    verdict = say(2.0, 3.0, **changes)
    assert verdict.word is Word.UNJUDGED
    assert verdict.reason == reason
    assert verdict.sentence.startswith("net is unjudged (")
    assert verdict.sentence.endswith(f"): {reason}")
    assert say(2.0, 3.0, origin=Origin.LAYERS).word is Word.FAR


@pytest.mark.parametrize(
    ("ratio", "low", "high"), [(1.3, 1.1, 1.6), (1.7, 1.4, 2.1), (1.05, 0.7, 1.55)]
)
def test_an_undecided_verdict_says_how_many_observations_would_decide(ratio, low, high):
    """In 4 of 5 runs of so many, by draws of log R whose intervals shrink as 1 / sqrt(n)."""
    verdict = say(low, high, ratio=ratio)
    assert verdict.word is Word.UNDECIDED
    reach = math.log((high if ratio < 1.5 else low) / ratio)
    drawn = np.random.default_rng(0).normal(math.log(ratio), abs(reach) / 1.96, 200_000)

    def share_decided(num_obs):
        shrunk = math.sqrt(32 / num_obs)
        end = math.log(ratio) + shrunk * (drawn - math.log(ratio)) + shrunk * reach
        return (end < math.log(1.5) if ratio < 1.5 else end > math.log(1.5)).mean()

    assert 0.795 < share_decided(verdict.num_wanted) < 0.83
    assert share_decided(0.85 * verdict.num_wanted) < 0.795
    assert f"about {verdict.num_wanted} observations would decide it" in verdict.sentence


@pytest.mark.parametrize(
    ("low", "high", "digits"),
    [
        (1.2, 1.4, 2), (1.1, 1.5, 2), (1.497, 2.18, 3), (1.503, 2.18, 3), (0.9, 1.0996, 4),
        (math.nan, math.nan, 2), (1.5, math.inf, 2), (1.5 + 1e-9, 2.0, 5),
    ],
)  # fmt: skip
def test_an_interval_has_the_decimals_that_its_word_needs(low, high, digits):
    assert count_decimals(low, high) == digits


def test_what_is_printed_is_what_the_word_says():
    assert say(1.4972, 2.2, ratio=1.8).word is Word.UNDECIDED
    assert "1.80 [1.497, 2.200]" in say(1.4972, 2.2, ratio=1.8).sentence


def test_a_ratio_on_the_limit_may_never_be_decided():
    verdict = say(1.4, 1.6, ratio=1.5)
    assert verdict.num_wanted == MOST_OBSERVATIONS
    assert "more than 100,000 observations would decide it" in verdict.sentence


@pytest.mark.parametrize("word", [Word.INCONCLUSIVE, Word.MISFIT])
@pytest.mark.parametrize("changes", [{}, {"num_obs": 3}, {"origin": Origin.ELSEWHERE}])
def test_a_doubt_comes_before_every_other_word(word, changes):
    verdict = say(2.0, 3.0, doubt=Doubt(word, "gibbs is stuck"), **changes)
    assert (verdict.word, verdict.reason) == (word, "gibbs is stuck")
    assert verdict.sentence.startswith(f"net is {word} (")
    assert verdict.sentence.endswith("): gibbs is stuck")


def test_a_posterior_that_recovers_h_is_said_to():
    verdict = say(math.inf, math.inf, ratio=math.inf)
    assert verdict.word == "far"
    assert "exact recovers h at noise_std = 1.4: Bayes risk 0" in verdict.sentence


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.98, 1.09, Word.UNDECIDED), (1.2, 1.4, Word.UNDECIDED), (1.51, 1.9, Word.FAR)],
)
def test_far_alone_stands_while_it_is_not_clear_that_the_prior_fits(low, high, word):
    verdict = say(low, high, is_claim_open=True)
    assert verdict.word is word
    assert ("whether the prior fits h" in verdict.sentence) == (word is Word.UNDECIDED)
