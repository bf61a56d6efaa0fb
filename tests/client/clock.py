"""How long something takes in the time that a process has had, which stands still while the machine runs others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["took"]

TICK_S = 0.02


@contextmanager
def took(least_s: float, most_s: float) -> Iterator[None]:
    """Assert that the body takes at least and at most this long; a pause of the whole process is not counted."""
    ended, ticks = threading.Event(), 0

    def tick() -> None:
        nonlocal ticks
        while not ended.wait(TICK_S):
            ticks += 1

    ticking = threading.Thread(target=tick)
    ticking.start()
    started_at = time.monotonic()
    try:
        yield
        elapsed_s = time.monotonic() - started_at
    finally:
        ended.set()
        ticking.join()
    assert elapsed_s >= least_s
    assert TICK_S * ticks <= most_s
