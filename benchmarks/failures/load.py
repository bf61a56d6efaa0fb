"""Clients that go on asking and sending events whatever happens, and what came of it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.faults.serving import asked_of
from benchmarks.signals.traffic import requests_of
from cascade_client import CascadeClient, CascadeClientError, Slate
from operations.replay.compare import within_rounding
from runtime.chain import Chain
from runtime.errors import BadRequest
from runtime.ids import UNKNOWN
from runtime.step import Arrays
from runtime.stream.live import without_live_state
from workflows.core.run import Run

__all__ = ["Load", "Question", "questions_of", "without_item"]

ASKERS, PAUSE_S, TIMEOUT_S = 2, 0.01, 5.0
EVENTS_TOGETHER = 5


class Question(NamedTuple):
    """A request of one user, and the right slate.

    Attributes:
        user: a raw id.
        named: the other arguments of `CascadeClient.recommend`.
        items: raw ids, best first.
        scores: float32, of these.
        path: what the slate rests on.
        arrays: the whole request, as the chain takes it.
    """

    user: int | str
    named: Mapping[str, Any]
    items: list[int | str]
    scores: NDArray[np.float32]
    path: str
    arrays: Arrays

    def is_answered_by(self, slate: Slate) -> bool:
        """Whether a slate is the right one."""
        if slate.item_ids != self.items or slate.path != self.path:
            return False
        return bool(within_rounding(self.scores, np.array(slate.scores, np.float32)).all())


def questions_of(run: Run, chain: Path, number: int, seed: int, *, is_unknown: bool = False) -> list[Question]:
    """Requests like those of a run's test events, answered by the files of a chain without a server.

    Args:
        run: its data.
        chain: compiled.
        number: requests.
        seed: of the draw.
        is_unknown: whether the chain knows none of the users.
    """
    with without_live_state():
        opened = Chain.load(chain)
    requests, users = requests_of(run, opened.spec, number, seed)
    if is_unknown:
        requests.user_row[:] = UNKNOWN
    asked = asked_of(requests, users, chain, opened.spec)
    found = []
    for arrays, (items, scores, path) in zip(asked, _answers(opened, asked), strict=True):
        given = {name: [_plain(value) for value in values[0]] for name, values in arrays.items()}
        user, recent = given.pop("user_id")[0], given.pop("recent_item_ids", None)
        named = {"context": given} | ({} if recent is None else {"recent_item_ids": [recent]})
        found.append(Question(user, named, items, scores, path, arrays))
    return found


def without_item(questions: Sequence[Question], chain: Path, item: int | str) -> list[Question]:
    """The same requests, with the slates that are right while an item is blocked.

    Args:
        questions: whose slates are those of no blocked item.
        chain: compiled.
        item: raw id.
    """
    with without_live_state():
        opened = Chain.load(chain)
    ids = np.array([[item.encode()]], object) if isinstance(item, str) else np.array([[item]], np.int64)
    asked = [{**question.arrays, "exclude_item_ids": ids} for question in questions]
    answers = zip(questions, _answers(opened, asked), strict=True)
    return [question._replace(items=items, scores=scores, path=path) for question, (items, scores, path) in answers]


def _answers(chain: Chain, asked: Sequence[Arrays]) -> Iterator[tuple[list[int | str], NDArray[np.float32], str]]:
    """Raw ids, scores and path of the slates of requests of one user each."""
    for answer in chain.recommend_many(asked):
        if isinstance(answer, BadRequest):
            raise answer
        shown = int(answer["num_items"][0, 0])
        items = [_plain(item) for item in answer["item_id"][0, :shown]]
        yield items, answer["score"][0, :shown], answer["path"][0, 0].decode()


@dataclass
class Load:
    """Ask and send until the end of the context.

    Attributes:
        url: of the server.
        questions: asked in turn.
        senders: users whose events are sent; none of them asks.
        items: that they are of.
        answered: id -> instant of the monotonic clock, of each request that got a slate.
        wrong: ids of those that got another slate than the right one.
        failed: how often each kind of error came instead.
        acknowledged: ids of the events that the server said it has.
    """

    url: str
    questions: Sequence[Question]
    senders: Sequence[int | str]
    items: Sequence[int | str]
    answered: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    acknowledged: set[str] = field(default_factory=set)

    def __enter__(self) -> Load:
        self._end, self.began_at, self.ended_at = threading.Event(), time.monotonic(), 0.0
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(ASKERS)]
        if self.senders:
            self._threads.append(threading.Thread(target=self._send))
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
        self.ended_at = time.monotonic()

    @property
    def longest_pause_s(self) -> float:
        """The longest time without an answer."""
        at = [self.began_at, *sorted(self.answered.values()), self.ended_at or time.monotonic()]
        return float(np.diff(at).max())

    def _ask(self, number: int) -> None:
        with CascadeClient(self.url, timeout_s=TIMEOUT_S, retry=None) as client:
            place = number
            while not self._end.wait(PAUSE_S):
                question, name = self.questions[place % len(self.questions)], f"request-{place}"
                place += ASKERS
                try:
                    (slate,) = client.recommend([question.user], request_id=name, **question.named)
                except CascadeClientError as error:
                    self.failed[type(error).__name__] += 1
                    continue
                self.answered[name] = time.monotonic()
                if not question.is_answered_by(slate):
                    self.wrong.append(name)

    def _send(self) -> None:
        random = np.random.default_rng(0)
        with CascadeClient(self.url, timeout_s=TIMEOUT_S, retry=None) as client:
            place = 0
            while not self._end.wait(5 * PAUSE_S):
                place += EVENTS_TOGETHER
                events = [
                    {
                        "user_id": self.senders[int(random.integers(len(self.senders)))],
                        "item_id": self.items[int(random.integers(len(self.items)))],
                        "event_id": f"event-{place + number}",
                    }
                    for number in range(EVENTS_TOGETHER)
                ]
                try:
                    outcomes = client.send(events)
                except CascadeClientError as error:
                    self.failed[f"events: {type(error).__name__}"] += 1
                    continue
                self.acknowledged.update(outcome.event_id for outcome in outcomes if outcome.status != "refused")


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return value.decode() if isinstance(value, bytes) else value
