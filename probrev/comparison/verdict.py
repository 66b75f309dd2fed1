"""The answer in words: is this inverse as good as Bayesian inference?"""

import math
from enum import StrEnum
from typing import NamedTuple

from scipy.stats import norm

from probrev.comparison.metrics.log_ratio import FEWEST_OBSERVATIONS
from probrev.model.observations import Origin
from probrev.plumbing.readable import cut, readable

AS_GOOD_BELOW = 1.1
NEAR_BELOW = 1.5
# An end that lies nearer to a bound than these can tell is on it.
MOST_DECIMALS = 5
# How often so many observations as are said to decide R do.
DECIDED_PROB = 0.8
# Beyond it a number of observations is not worth naming.
MOST_OBSERVATIONS = 100_000


class Word(StrEnum):
    """What a verdict says in a word.

    - `MISFIT`: the model does not fit x, or its prior does not fit h.
    - `INCONCLUSIVE`: the posterior cannot be trusted.
    - `AS_GOOD`, `NEAR`, `FAR`: where the interval of R lies.
    - `UNDECIDED`: the interval is too wide for a word.
    - `UNJUDGED`: figures without a word, since there can be none.
    """

    MISFIT = "misfit"
    INCONCLUSIVE = "inconclusive"
    AS_GOOD = "as good as Bayes"
    NEAR = "near"
    FAR = "far"
    UNDECIDED = "undecided"
    UNJUDGED = "unjudged"


# Words that are not whole in a sentence.
_PHRASES = {Word.NEAR: "near Bayesian inference", Word.FAR: "far from Bayesian inference"}


class Doubt(NamedTuple):
    """Why a posterior may not judge: `MISFIT` or `INCONCLUSIVE`, and the evidence."""

    word: Word
    reason: str


@readable
class Verdict(NamedTuple):
    """What a comparison says of one inverse beside one posterior.

    Attributes:
        inverse: name of the inverse.
        posterior: name of the posterior.
        word: see `Word`.
        ratio: R = risk(inverse) / risk(Bayes), pooled.
        low: lower end of R's interval; NaN where it has none.
        high: upper end.
        interval_prob: probability of the interval.
        num_obs: observations that it is about.
        num_wanted: of an undecided one, about how many observations would decide it, where that can
            be told from R's interval; else 0.
        planned: whether it was fixed beforehand that this verdict would be read, rather than one of
            many that one may look through.
        reason: of a misfit, inconclusive or unjudged one why; else empty.
        sentence: all of it in plain words.
    """

    inverse: str
    posterior: str
    word: Word
    ratio: float
    low: float
    high: float
    interval_prob: float
    num_obs: int
    num_wanted: int
    planned: bool
    reason: str
    sentence: str

    def __repr__(self) -> str:
        return cut(f"Verdict: {self.sentence}")


class Ratio(NamedTuple):
    """R of one inverse beside one posterior, and what it rests on.

    Attributes:
        inverse: name of the inverse.
        posterior: name of the posterior.
        value: R.
        low: lower end of its interval; NaN where it has none.
        high: upper end.
        interval_prob: probability of the interval.
        num_obs: observations.
        origin: where they come from, as seen from the posterior's model.
        has_truth: whether their h is known.
        spares_truth: whether R takes the posterior's word for what h would tell.
        is_claim_open: whether it is not yet clear that the prior fits h, see `doubt`.
    """

    inverse: str
    posterior: str
    value: float
    low: float
    high: float
    interval_prob: float
    num_obs: int
    origin: Origin
    has_truth: bool
    spares_truth: bool
    is_claim_open: bool = False


def judge(
    ratio: Ratio,
    *,
    setting: str,
    doubt: Doubt | None = None,
    is_approximate: bool = False,
    planned: bool = True,
) -> Verdict:
    """Turns a risk ratio and its interval into a verdict.

    A doubt comes before all: "misfit" or "inconclusive". Then "unjudged": x that the model's layers
    did not make, fewer than 16 observations, or a ratio without a positive denominator. Then "as
    good as Bayes" if the interval's upper end is below 1.1, "near" if below 1.5, "far" if its lower
    end is above 1.5, else "undecided"; so too, but for "far", under a prior of real h as long as it
    is not clear that it fits.

    Args:
        ratio: R and what it rests on.
        setting: what it was measured at, e.g. "noise_std = 1.4".
        doubt: why the posterior may not judge.
        is_approximate: whether the posterior is an approximation, which the sentence then says.
        planned: see `Verdict`.
    """
    num_wanted, reason = 0, _why_unjudged(ratio)
    if doubt is not None:
        word, reason = doubt
        more = reason
    elif reason:
        word, more = Word.UNJUDGED, reason
    elif ratio.is_claim_open and not ratio.low > NEAR_BELOW:
        word = Word.UNDECIDED
        more = "it is not clear yet whether the prior fits h, more observations tell"
    elif ratio.high < AS_GOOD_BELOW:
        word, more = Word.AS_GOOD, ""
    elif ratio.high < NEAR_BELOW:
        word, more = Word.NEAR, ""
    elif ratio.low > NEAR_BELOW:
        word, more = Word.FAR, ""
    else:
        num_wanted = count_wanted(ratio)
        word, more = Word.UNDECIDED, f"{_wanted(num_wanted)} would decide it"
    figures = _figures(ratio, setting, is_approximate)
    sentence = f"{ratio.inverse} is {_PHRASES.get(word, word)} ({figures})"
    if more:
        sentence = f"{sentence}: {more}"
    return Verdict(
        ratio.inverse, ratio.posterior, word, ratio.value, ratio.low, ratio.high,
        ratio.interval_prob, ratio.num_obs, num_wanted, planned, reason, sentence,
    )  # fmt: skip


def count_wanted(ratio: Ratio) -> int:
    """About how many observations would decide R in 4 of 5 runs, if it is what it seems.

    Intervals of its log shrink as 1 / sqrt(n), and so does how far it is off. Two digits, rounded
    up; at most 100,000, which stands for all above it.
    """
    bound, value = math.log(NEAR_BELOW), math.log(ratio.value)
    end = ratio.high if value < bound else ratio.low
    gap, reach = abs(bound - value), abs(math.log(end) - value) if end > 0 else math.inf
    reach *= 1 + norm.ppf(DECIDED_PROB) / norm.ppf((1 + ratio.interval_prob) / 2)
    if not gap > 0 or ratio.num_obs * (reach / gap) ** 2 >= MOST_OBSERVATIONS:
        return MOST_OBSERVATIONS
    wanted = ratio.num_obs * (reach / gap) ** 2
    unit = 10 ** max(0, math.floor(math.log10(wanted)) - 1)
    return max(ratio.num_obs + 1, math.ceil(wanted / unit) * unit)


def _wanted(number: int) -> str:
    if number >= MOST_OBSERVATIONS:
        return f"more than {MOST_OBSERVATIONS:,} observations"
    return f"about {number:,} observations"


def _why_unjudged(ratio: Ratio) -> str:
    """Why no word may be said; empty if one may."""
    if ratio.origin is Origin.ELSEWHERE:
        return "the model's layers are not known to have made x; obs.simulated_by(model) says so"
    if ratio.num_obs < FEWEST_OBSERVATIONS:
        return (
            f"{ratio.posterior} covers {ratio.num_obs} observation{'s' * (ratio.num_obs != 1)}, "
            f"wanted at least {FEWEST_OBSERVATIONS}"
        )
    if not ratio.low <= ratio.high:
        return "a risk is not clear of 0 beside its Monte Carlo error"
    return ""


def _figures(ratio: Ratio, setting: str, is_approximate: bool) -> str:
    against = ratio.posterior + (", an approximation" if is_approximate else "")
    if ratio.value == math.inf:
        return f"{against} recovers h at {setting}: Bayes risk 0"
    what = "risk / Bayes risk"
    if ratio.spares_truth or not ratio.has_truth:
        what = "1 + excess risk / posterior variance"
    # Few observations give no interval.
    interval = " (no interval)"
    digits = count_decimals(ratio.low, ratio.high)
    if ratio.low <= ratio.high:
        interval = f" [{ratio.low:.{digits}f}, {ratio.high:.{digits}f}]"
    return f"{what} = {ratio.value:.2f}{interval} at {setting}, against {against}"


def count_decimals(*ends: float) -> int:
    """Decimals that an interval of R needs for its word: 1.497 is not 1.50, which begins "far"."""
    digits = 2
    while digits < MOST_DECIMALS and any(
        round(end, digits) == bound != end for end in ends for bound in (AS_GOOD_BELOW, NEAR_BELOW)
    ):
        digits += 1
    return digits


def format_prob(prob: float) -> str:
    """The probability of an interval: "95 %", "98.33 %"."""
    return f"{round(100 * prob, 2):g} %"
