"""The answer in words: is this inverse as good as Bayesian inference?"""

from typing import NamedTuple

AS_GOOD_BELOW = 1.1
NEAR_BELOW = 1.5


class Verdict(NamedTuple):
    """What a comparison says of one inverse beside one posterior.

    Attributes:
        inverse: name of the inverse.
        posterior: name of the posterior.
        word: "as good as Bayes", "near", "far", "undecided" or "inconclusive".
        ratio: R = risk(inverse) / risk(Bayes), pooled.
        low: lower end of R's 95 % interval.
        high: upper end.
        sentence: all of it in plain words.
    """

    inverse: str
    posterior: str
    word: str
    ratio: float
    low: float
    high: float
    sentence: str


def judge(
    inverse: str,
    posterior: str,
    ratio: float,
    low: float,
    high: float,
    *,
    setting: str,
    trouble: str = "",
    has_truth: bool = True,
    is_approximate: bool = False,
) -> Verdict:
    """Turns a risk ratio and its interval into a verdict.

    "as good as Bayes" if the interval's upper end is below 1.1, "near" if below 1.5, "far" if its
    lower end is above 1.5, else "undecided". "inconclusive" if the posterior cannot be trusted.

    Args:
        inverse: name of the inverse.
        posterior: name of the posterior.
        ratio: R.
        low: lower end of its interval.
        high: upper end.
        setting: what R was measured at, e.g. "noise_std = 1.4".
        trouble: why the posterior cannot be trusted; empty if it can.
        has_truth: whether R compares risks, or is 1 + excess risk / posterior variance.
        is_approximate: whether the posterior is an approximation, which the sentence then says.
    """
    what = "risk / Bayes risk" if has_truth else "1 + excess risk / posterior variance"
    # One observation gives no interval.
    interval = f" [{low:.2f}, {high:.2f}]" if low <= high else " (no interval)"
    against = f"{posterior}, an approximation" if is_approximate else posterior
    figures = f"{what} = {ratio:.2f}{interval} at {setting}, against {against}"
    if ratio == float("inf"):
        figures = f"{against} recovers h at {setting}: Bayes risk 0"
    if trouble:
        word, phrase = "inconclusive", f"inconclusive: {trouble}"
    elif high < AS_GOOD_BELOW:
        word = phrase = "as good as Bayes"
    elif high < NEAR_BELOW:
        word, phrase = "near", "near Bayesian inference"
    elif low > NEAR_BELOW:
        word, phrase = "far", "far from Bayesian inference"
    else:
        word, phrase = "undecided", "undecided: more observations are needed"
    return Verdict(inverse, posterior, word, ratio, low, high, f"{inverse} is {phrase} ({figures})")
