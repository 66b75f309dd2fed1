"""How far long work is, in a line now and then: for logs, where no bar can move."""

import time
from collections.abc import Callable

# Until the first line, and at most between two; each wait is twice the one before.
FIRST_SECONDS, MOST_SECONDS = 10.0, 300.0


class Pace:
    """Told how far a stage is, says so now and then, with the time that is left as measured.

    What was found done at the first report counts for nothing. The first work after it may have
    been compiled, and took the longer: where there is no other yet, its time is a bound.

    Args:
        name: of the stage.
        say: takes a line.
        clock: seconds.
    """

    def __init__(
        self, name: str, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ):
        self._name, self._say, self._clock = name, say, clock
        self._wait, self._due = FIRST_SECONDS, clock() + FIRST_SECONDS
        self._marks: list[tuple[float, int]] = []  # the first report, and the first of more done

    def __call__(self, done: int, total: int) -> None:
        """Takes the units of work done so far and in all."""
        now = self._clock()
        if not self._marks or (len(self._marks) < 2 and done > self._marks[0][1]):
            self._marks.append((now, done))
        known = [mark for mark in self._marks if mark[1] < done]
        if now < self._due or done >= total or not known:
            return
        begun, before = known[-1]
        if len(known) < 2 and now - begun < FIRST_SECONDS:  # quick work: the next report is near
            return
        left = in_words((now - begun) / (done - before) * (total - done))
        about = "about" if len(known) > 1 else "at most about"
        self._say(f"{self._name}: {done} of {total}, {about} {left} left")
        self._due, self._wait = now + self._wait, min(2 * self._wait, MOST_SECONDS)


def in_words(seconds: float) -> str:
    """A time as one says it: "40 s", "3 min", "2.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
