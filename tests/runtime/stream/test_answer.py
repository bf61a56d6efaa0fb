"""Many requests as one commit: each is answered as if it were alone, and the log has the order in which they came."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtime.errors import BadRequest
from runtime.stream.answer import answers_of, read_requests
from runtime.stream.events import Events
from runtime.stream.parse import EventParser
from runtime.stream.spec import StreamSpec
from runtime.stream.store import StoreError

PARSER = EventParser(StreamSpec("INT64", "INT64", ("click",), stock="in_stock"))
ARRIVAL = 1_800_000_000 * 10**9


class Log:
    """Takes events in as `Ingest.accept` does: every second offset was known already."""

    def __init__(self) -> None:
        self.taken: list[Events] = []
        self.said: list[str] = []

    def accept(self, events: Events) -> tuple[np.ndarray, np.ndarray]:
        self.taken.append(events)
        offsets = np.arange(len(events)) + 100
        return (offsets % 2).astype(np.int8), offsets


def request(users: list[int], items: list[int], label: bytes = b"", **more: Any) -> dict[str, np.ndarray]:
    columns: dict[str, np.ndarray] = {"user_id": np.array(users)[:, None], "item_id": np.array(items)[:, None], **more}
    if label:
        columns["label"] = np.array([[label]] * len(users), object)
    return columns


REQUESTS = [
    request([1, 2], [10, 11]),
    request([3], [12]),
    request([4], [-1]),
    request([5], [13], b"click"),
    BadRequest("no key"),
    request([6, 7, 8], [14, -1, 15]),
    request([9], [16], b"clik"),
    request([1], [2], wrong=np.zeros((1, 1))),
    request([10], [17]),
]


def test_each_request_is_answered_as_if_it_were_alone() -> None:
    log = Log()
    groups, refused = read_requests(PARSER, REQUESTS, ARRIVAL, log.said.append)
    answers, status = answers_of(groups, log.accept, log.said.append)
    assert [event for events in log.taken for event in events.user.tolist()] == [1, 2, 3, 5, 6, 8, 10]
    assert len(log.taken) == 1
    assert log.said == []
    assert sorted(refused) == [4, 7]
    assert str(refused[7]).startswith("unknown field 'wrong'")
    found = {place: (a["status"][:, 0].tolist(), a["offset"][:, 0].tolist()) for place, a in answers.items()}
    assert found == {
        0: ([0, 1], [100, 101]),
        1: ([0], [102]),
        2: ([-1], [-1]),
        3: ([1], [103]),
        5: ([0, -1, 1], [104, -1, 105]),
        6: ([-1], [-1]),
        8: ([0], [106]),
    }
    assert [answers[place]["reason"].shape for place in (0, 5)] == [(2, 1), (3, 1)]
    assert answers[6]["reason"][0, 0].startswith(b"unknown label 'clik'")
    assert status.tolist() == [0, 1, 0, -1, 1, 0, -1, 1, -1, 0]
    # Alike requests behind one another are one group.
    assert [group.places for group in groups] == [[0, 1, 2], [3], [5], [6], [8]]


@pytest.mark.parametrize("error", [StoreError("the disk is full"), ValueError("a fault")])
def test_what_keeps_the_good_events_out_is_told_to_their_senders_alone(error: Exception) -> None:
    said: list[str] = []

    def fail(events: Events) -> Any:
        raise error

    groups, _ = read_requests(PARSER, REQUESTS, ARRIVAL, said.append)
    answers, status = answers_of(groups, fail, said.append)
    assert {place for place, answer in answers.items() if answer is error} == {0, 1, 3, 5, 8}
    assert [answers[place]["status"].tolist() for place in (2, 6)] == [[[-1]], [[-1]]]
    assert status.tolist() == [-1, -1]
    assert said == [f"{type(error).__name__}: {error}"]


def test_a_request_that_breaks_the_reader_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    original, said = PARSER.parse, list[str]()

    def parse(columns: Any, received_at: int) -> Any:
        if 66 in columns["user_id"]:
            raise KeyError("a fault")
        return original(columns, received_at)

    monkeypatch.setattr(PARSER, "parse", parse)
    groups, refused = read_requests(PARSER, [request([u], [1]) for u in (65, 66, 67)], ARRIVAL, said.append)
    assert [group.places for group in groups] == [[0], [2]]
    assert str(refused[1]) == "the server could not read this request; its log says why"
    assert said == ["KeyError: 'a fault'"]


def test_no_request_and_no_good_event_take_nothing_in() -> None:
    log = Log()
    for requests in ([], [request([1], [-1])], [BadRequest("no key")]):
        groups, _ = read_requests(PARSER, requests, ARRIVAL, log.said.append)
        answers, status = answers_of(groups, log.accept, log.said.append)
        assert (log.taken, len(answers), len(status)) == ([], len(groups), len(groups))
