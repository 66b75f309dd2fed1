"""How far long work is: its rate and the time that is left."""

import time
from collections.abc import Callable

SECONDS_BETWEEN = 10.0


def stopwatch(name: str, every: float = SECONDS_BETWEEN) -> Callable[[int, int], None]:
    """Something to call with the steps done and in all, which prints them and the time left.

    Args:
        name: of the work.
        every: least number of seconds between two lines; the last step is not printed.
    """
    last = [(0, time.monotonic())]

    def show(done: int, total: int) -> None:
        now = time.monotonic()
        before, then = last[0]
        if now - then < every or done == total:
            return
        last[:] = [(done, now)]
        rate = (done - before) / (now - then)
        left = (total - done) / rate
        print(f"  {name}: {done}/{total} steps, {rate:.0f}/s, {left:.0f} s left", flush=True)

    return show
