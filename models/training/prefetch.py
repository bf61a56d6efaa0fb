"""The next batches are made while the model works on one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

__all__ = ["prefetch"]

T = TypeVar("T")

POLL_S = 0.1


def prefetch(items: Iterable[T], depth: int = 2) -> Iterator[T]:
    """Go over the items while a thread makes the next ones; same items, same order.

    Args:
        items: gone over in the thread, which ends with them, with an error, or when this generator is closed.
        depth: how many may wait.

    Raises:
        Exception: what making an item raised, in its place.
    """
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=depth)
    closed = threading.Event()

    def hand_over(kind: str, value: Any = None) -> None:
        while not closed.is_set():
            with suppress(queue.Full):
                ready.put((kind, value), timeout=POLL_S)
                break

    def work() -> None:
        try:
            for item in items:
                hand_over("item", item)
                if closed.is_set():
                    return
            hand_over("end")
        except BaseException as error:
            hand_over("error", error)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
    finally:
        closed.set()
        worker.join()
