"""How fast events are taken in when half of them are of one item, beside events that are drawn evenly."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.stream.folding import BATCH, drawn_events
from benchmarks.stream.worker import WINDOWS
from runtime.stream.events import Events
from runtime.stream.ingest import Ingest
from runtime.stream.spec import StreamSpec

__all__ = ["Hot", "heated", "measure_hot"]

ROUNDS = 3


class Hot(NamedTuple):
    """Events logged, folded and in the store, a second of one core; the median of three rounds in turn.

    Attributes:
        even_per_cpu_s: of users and items drawn evenly.
        hot_per_cpu_s: with half of the events on one item, and a quarter of them by one user.
    """

    even_per_cpu_s: float
    hot_per_cpu_s: float

    @property
    def share(self) -> float:
        """What is left of the speed."""
        return self.hot_per_cpu_s / self.even_per_cpu_s


def measure_hot(spec: StreamSpec, ids: dict[str, NDArray], folder: Path, num_events: int) -> Hot:
    """Take in events of both kinds, each time into an empty folder.

    Args:
        spec: of the stream; windows of users and items are added, since items without any hold nothing to write.
        ids: raw ids of users and items.
        folder: in which the folders are made.
        num_events: of a round.
    """
    counted = replace(spec, user_windows=WINDOWS, item_windows=WINDOWS)
    rates: dict[bool, list[float]] = {False: [], True: []}
    for number in range(ROUNDS):
        for is_hot, found in rates.items():
            events = folder / f"{'hot' if is_hot else 'even'}_{number}"
            found.append(_rate(counted, ids, events, num_events, is_hot=is_hot))
    return Hot(*(float(np.median(found)) for found in rates.values()))


def heated(events: Events, ids: dict[str, NDArray]) -> Events:
    """The same events, every second one of the first item, every fourth one by the first user."""
    user, item = events.user.copy(), events.item.copy()
    user[::4], item[::2] = ids["user"].tolist()[0], ids["item"].tolist()[0]
    return replace(events, user=user, item=item)


def _rate(spec: StreamSpec, ids: dict[str, NDArray], folder: Path, num_events: int, *, is_hot: bool) -> float:
    random, used_s = np.random.default_rng(13), 0.0
    ingest = Ingest(folder, spec)
    for first in range(0, num_events, BATCH):
        num = min(BATCH, num_events - first)
        events = drawn_events(ids, spec.labels, num, first, num_events, random)
        if is_hot:
            events = heated(events, ids)
        started_at = time.process_time()
        ingest.accept(events, int(events.at[-1]))
        used_s += time.process_time() - started_at
    ingest.close()
    return num_events / used_s
