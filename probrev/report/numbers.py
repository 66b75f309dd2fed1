"""Numbers as text: no more digits than their error allows."""

import math

ABSENT = "–"


def plain(value: float, digits: int = 3) -> str:
    """A number to some significant digits, without an exponent where that stays readable."""
    if math.isnan(value):
        return ABSENT
    if math.isinf(value):
        return "∞"
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - 1 - _exponent(value))}f}"


def with_error(value: float, std_error: float) -> str:
    """`0.413 ± 0.052`: the error to two digits, the value to as many decimals."""
    # What is left of a standard error of 0 after rounding says nothing.
    if not math.isfinite(value + std_error) or std_error <= 1e-12 * abs(value):
        return plain(value)
    decimals = _decimals(std_error)
    if decimals > 6:
        return f"{plain(value)} ± {plain(std_error, 2)}"
    return f"{value:,.{decimals}f} ± {std_error:,.{decimals}f}"


def with_interval(value: float, low: float, high: float, *, least: int = 0, most: int = 6) -> str:
    """`4.72 [3.45, 6.78]`: a quarter of the interval to two digits, and so the rest.

    Never fewer than two decimals below 10, so that the verdict's limits can be told.

    Args:
        value: a number.
        low: lower end of its interval.
        high: upper end.
        least: fewest decimals.
        most: most decimals, unless these are more.
    """
    if not math.isfinite(low + high) or high - low <= 1e-12 * abs(value):
        return plain(value)
    decimals = min(max(_decimals((high - low) / 4), 2 * (abs(value) < 10)), most)
    decimals = max(decimals, least)
    return f"{value:,.{decimals}f} [{low:,.{decimals}f}, {high:,.{decimals}f}]"


def percent(share: float) -> str:
    """A share in percent, to whole percents, or finer next to 0 and 1."""
    if not math.isfinite(share):
        return ABSENT
    edge = min(share, 1 - share)
    if 0 < edge < 0.0005:
        return "< 0.1 %" if share < 0.5 else "> 99.9 %"
    return f"{100 * share:.{int(0 < edge < 0.05)}f} %"


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    if not math.isfinite(seconds):
        return ABSENT
    for factor, unit in ((1e6, "µs"), (1e3, "ms"), (1, "s")):
        if seconds * factor < 1000:
            return f"{plain(seconds * factor, 2)} {unit}"
    return f"{seconds / 60:.0f} min"


def _decimals(std_error: float) -> int:
    """Decimals that show two significant digits of an error."""
    return max(0, 1 - _exponent(std_error))


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value)))
