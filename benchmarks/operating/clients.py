"""Clients at a steady pace, whose right slates are known while an item is blocked and while it is not."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.failures.load import Question
from cascade_client import CascadeClient, CascadeClientError

__all__ = ["Clients", "Shown"]

CONSUMERS = ("web", "app", "")
EVENTS_TOGETHER = 5
# A slate that was asked for this long after a change must follow it.
KNOWN_WITHIN_S = 1.0


class Shown(NamedTuple):
    """A slate that somebody has got.

    Attributes:
        request_id: of it.
        user: raw id.
        item: the first of its items, raw id.
        at: seconds since 1970.
    """

    request_id: str
    user: int | str
    item: int | str
    at: float


class Clients:
    """Ask, over gRPC and over HTTP in turn, and send events, until `stop`.

    Args:
        urls: of gRPC and of HTTP.
        plain: requests with their right slates.
        blocked: the same requests, with the right slates while the item is blocked.
        senders: users whose events are sent; none of them asks.
        items: that events are of.
        slates_per_s: of all clients together.

    Attributes:
        answered: ids of the requests that got a slate.
        shown: the slates since the last call of `take_shown`.
        wrong: sentences on slates that are not the right ones.
        errors: how often each sentence came instead of an answer.
        num_events: that the server said it has.
        latencies_ms: of slates.
    """

    def __init__(
        self,
        urls: Sequence[str],
        plain: Sequence[Question],
        blocked: Sequence[Question],
        senders: Sequence[int | str],
        items: Sequence[int | str],
        slates_per_s: float,
    ) -> None:
        self._urls, self._of, self._senders, self._items = urls, {False: plain, True: blocked}, senders, items
        self._interval_s = len(urls) / slates_per_s
        self._changed_at, self._is_blocked = -KNOWN_WITHIN_S, False
        self._lock, self.stop = threading.Lock(), threading.Event()
        self.answered: list[str] = []
        self.shown: list[Shown] = []
        self.wrong: list[str] = []
        self.errors: Counter[str] = Counter()
        self.num_events, self.latencies_ms = 0, list[float]()
        self._threads = [threading.Thread(target=self._repeat, args=(n, url)) for n, url in enumerate(urls)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join()

    def change(self, work: Callable[[], object], *, is_blocked: bool) -> None:
        """Have the item blocked or not: until a second after, both slates are right."""
        with self._lock:
            self._changed_at = float("inf")
        work()
        with self._lock:
            self._changed_at, self._is_blocked = time.monotonic(), is_blocked

    def take_shown(self) -> list[Shown]:
        """The slates since the last call."""
        with self._lock:
            taken, self.shown = self.shown, []
        return taken

    def _repeat(self, number: int, url: str) -> None:
        random = np.random.default_rng(number)
        with CascadeClient(url, timeout_s=30.0, retry=None) as client:
            due = time.monotonic() + self._interval_s * random.random()
            for place in itertools.count(number, len(self._urls)):
                if self.stop.wait(max(due - time.monotonic(), 0.0)):
                    return
                # A client that fell behind does not ask all at once what it missed.
                due = max(due + self._interval_s, time.monotonic())
                try:
                    self._ask(client, place)
                    if not number and place % (2 * EVENTS_TOGETHER) == 0 and self._senders:
                        self._send(client, random)
                except CascadeClientError as error:
                    with self._lock:
                        self.errors[str(error)] += 1

    def _ask(self, client: CascadeClient, place: int) -> None:
        name, at = f"soak-{place}", place % len(self._of[False])
        question, asked_at = self._of[False][at], time.monotonic()
        (slate,) = client.recommend(
            [question.user], request_id=name, consumer=CONSUMERS[place % len(CONSUMERS)], **question.named
        )
        took_s = time.monotonic() - asked_at
        with self._lock:
            either = asked_at < self._changed_at + KNOWN_WITHIN_S
            right = (False, True) if either else (self._is_blocked,)
            if not any(self._of[is_blocked][at].is_answered_by(slate) for is_blocked in right):
                self.wrong.append(f"{name} ({'around a change' if either else f'blocked: {self._is_blocked}'})")
            self.answered.append(name)
            self.latencies_ms.append(1000 * took_s)
            if slate.item_ids:
                self.shown.append(Shown(name, question.user, slate.item_ids[0], time.time()))

    def _send(self, client: CascadeClient, random: np.random.Generator) -> None:
        drawn = zip(
            random.integers(0, len(self._senders), EVENTS_TOGETHER),
            random.integers(0, len(self._items), EVENTS_TOGETHER),
            strict=True,
        )
        outcomes = client.send([{"user_id": self._senders[u], "item_id": self._items[i]} for u, i in drawn])
        with self._lock:
            for outcome in outcomes:
                if outcome.status == "new":
                    self.num_events += 1
                else:
                    self.errors[f"an event was {outcome.status}: {outcome.reason}"] += 1
