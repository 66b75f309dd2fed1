"""Times of calls that are run in turn."""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

REPEATS = 5


def medians(*calls: Callable[[], Any]) -> list[float]:
    """Median seconds of each call, run in turn A B A B ... after one warm-up each.

    Args:
        *calls: what to time; what a call returns is waited for.
    """
    times: list[list[float]] = [[] for _ in calls]
    for repeat in range(REPEATS + 1):
        for seconds, call in zip(times, calls, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(call())
            if repeat:
                seconds.append(time.perf_counter() - start)
    return [float(np.median(seconds)) for seconds in times]
