"""How far long work is, in a line now and then: for logs, where no bar can move."""

import time
from collections.abc import Callable

# Until the first line, and at most between two; each wait is twice the one before.
FIRST_SECONDS, MOST_SECONDS = 10.0, 300.0


class Pace:
    """Told how far a stage is, says so now and then, with the time that is left as measured.

    The time is that of what was done since the first report: what was found done, and what was
    compiled before it, count for nothing.

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
        self._first: tuple[float, int] | None = None

    def __call__(self, done: int, total: int) -> None:
        """Takes the units of work done so far and in all."""
        now = self._clock()
        if self._first is None:
            self._first = now, done
        begun, before = self._first
        if now < self._due or not before < done < total:
            return
        left = (now - begun) / (done - before) * (total - done)
        self._say(f"{self._name}: {done} of {total}, about {in_words(left)} left")
        self._due, self._wait = now + self._wait, min(2 * self._wait, MOST_SECONDS)


def in_words(seconds: float) -> str:
    """A time as one says it: "40 s", "3 min", "2.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
