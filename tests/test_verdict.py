"""Words and figures of a verdict."""

import math

import pytest

from probrev.verdict import judge


def say(low, high, ratio=1.3, **options):
    return judge("net", "exact", ratio, low, high, setting="noise_std = 1.4", **options)


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
        (math.nan, math.nan, "undecided"),
    ],
)
def test_words_follow_the_interval(low, high, word):
    assert say(low, high).word == word


def test_sentence_holds_every_figure():
    verdict = say(1.234, 1.449, ratio=1.341)
    assert verdict.sentence == (
        "net is near Bayesian inference "
        "(risk / Bayes risk = 1.34 [1.23, 1.45] at noise_std = 1.4, against exact)"
    )
    assert verdict[:6] == ("net", "exact", "near", 1.341, 1.234, 1.449)


def test_sentence_without_truth_says_what_the_ratio_is():
    assert "1 + excess risk / posterior variance = 1.30" in say(1.2, 1.4, has_truth=False).sentence


@pytest.mark.parametrize(("low", "high"), [(0.9, 1.05), (2.0, 3.0)])
def test_a_posterior_in_trouble_decides_nothing(low, high):
    verdict = say(low, high, trouble="gibbs is stuck")
    assert verdict.word == "inconclusive"
    assert "inconclusive: gibbs is stuck" in verdict.sentence


def test_a_posterior_that_recovers_h_is_said_to():
    verdict = say(math.inf, math.inf, ratio=math.inf)
    assert verdict.word == "far"
    assert "exact recovers h at noise_std = 1.4: Bayes risk 0" in verdict.sentence
