"""Numbers and words of one kind, as a run has them and as they were found again."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

# Numbers are equal up to this share of the larger of both, or of FLOOR if that is larger still.
TOLERANCE, FLOOR = 1e-6, 1e-9
# Of a label, the value in the run, and the one found again; None where there is none.
Pair = tuple[str, Any, Any]


class Agreed(NamedTuple):
    """What was held against each other, and how far it is apart.

    Attributes:
        what: which numbers.
        how: what they were found again from.
        number: how many.
        absolute: their largest difference; infinite of words that differ, or where one is missing.
        relative: the largest, relative to the larger of both.
        worst: the first that differs by more than rounding, and both values; empty where none does.
    """

    what: str
    how: str
    number: int
    absolute: float
    relative: float
    worst: str

    @property
    def agrees(self) -> bool:
        """Whether all are the same, to rounding."""
        return not self.worst


def hold(what: str, how: str, pairs: Iterable[Pair]) -> Agreed:
    """Holds what a run has against what was found again.

    Args:
        what: which numbers.
        how: what they were found again from.
        pairs: arrays, numbers or words.
    """
    number, absolute, relative, worst = 0, 0.0, 0.0, ""
    for label, saved, found in pairs:
        size, far, share, where = _difference(saved, found)
        number += size
        absolute, relative = max(absolute, far), max(relative, share)
        if share > TOLERANCE and not worst:
            worst = f"{label}{where}"
    return Agreed(what, how, number, absolute, relative, worst)


def _difference(saved: Any, found: Any) -> tuple[int, float, float, str]:
    """How many numbers, their largest differences, and the worst place in words."""
    if saved is None or found is None:
        missing = "is not in the run" if saved is None else "does not follow from the run"
        return 1, np.inf, np.inf, f" {missing}"
    saved, found = np.asarray(saved), np.asarray(found)
    if saved.shape != found.shape:
        return 1, np.inf, np.inf, f" has shape {saved.shape} in the run, {found.shape} found again"
    if not saved.size:
        return 0, 0.0, 0.0, ""
    if saved.dtype.kind not in "biuf" or found.dtype.kind not in "biuf":
        same = saved.astype(str) == found.astype(str)
        far = share = np.where(same, 0.0, np.inf)
    else:
        saved, found = saved.astype(float), found.astype(float)
        same = (saved == found) | (np.isnan(saved) & np.isnan(found))
        with np.errstate(invalid="ignore"):
            far = np.where(same, 0.0, np.abs(saved - found))
            size = np.fmax(np.fmax(np.abs(saved), np.abs(found)), FLOOR)
            share = np.where(same, 0.0, far / size)
        # One is NaN, or infinite, and the other is not.
        far, share = (np.where(np.isfinite(one), one, np.inf) for one in (far, share))
    place = np.unravel_index(int(np.argmax(share)), share.shape)
    where = f" {list(map(int, place))}" if place else ""
    where += f" is {_shown(saved[place])} in the run, {_shown(found[place])} found again"
    return saved.size, float(far.max()), float(share.max()), where


def _shown(value: Any) -> str:
    return f"{value:.9g}" if isinstance(value, float | np.floating) else repr(str(value))
