"""Run time with JAX's compile time apart."""

import time
from contextlib import contextmanager
from dataclasses import dataclass

import jax


@dataclass
class Timing:
    """Seconds spent inside a `stopwatch`, or several; each adds its own when it ends.

    Attributes:
        run_seconds: wall time without tracing and compilation.
        compile_seconds: time JAX spent tracing and compiling.
    """

    run_seconds: float = 0.0
    compile_seconds: float = 0.0


@contextmanager
def stopwatch(timing: Timing | None = None):
    """Times a block; what is timed must wait for its results (`block_until_ready`).

    Args:
        timing: what its seconds are added to.
    """
    timing = Timing() if timing is None else timing
    compiling = 0.0

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        nonlocal compiling
        if event.startswith("/jax/core/compile"):
            compiling += duration_secs

    jax.monitoring.register_event_duration_secs_listener(listen)
    start = time.perf_counter()
    try:
        yield timing
    finally:
        total = time.perf_counter() - start
        jax.monitoring.unregister_event_duration_listener(listen)
        timing.compile_seconds += min(compiling, total)
        timing.run_seconds += total - min(compiling, total)
