"""Ctrl-C that ends a command whatever it is doing."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# So long after an interrupt it is raised once more, and again: a library may have dropped it, as
# where it falls into a callback whose exceptions are ignored.
SECONDS_TO_INSIST = 5.0


@contextmanager
def insisting() -> Iterator[threading.Event]:
    """Raises KeyboardInterrupt at SIGINT until the block ends; says whether there was one."""
    asked, over = threading.Event(), threading.Event()
    main = threading.get_ident()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def insist() -> None:
        while not over.wait(SECONDS_TO_INSIST):
            signal.pthread_kill(main, signal.SIGINT)  # which wakes it, where it sleeps

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        if over.is_set():
            return
        if not asked.is_set():
            asked.set()
            threading.Thread(target=insist, daemon=True).start()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield asked
    finally:
        over.set()
        signal.signal(signal.SIGINT, before)
