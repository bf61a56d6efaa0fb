"""Many requests of events as one commit: read together, taken in together, and an answer for each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from runtime.errors import BadRequest
from runtime.stream.events import Events
from runtime.stream.parse import EventParser, Parsed

__all__ = ["REFUSED", "UNREADABLE", "Answer", "Arrays", "Group", "answers_of", "read_requests"]

REFUSED = -1
SET_ASIDE_REASON = b"the event is in the log and could not be folded into the state; set_aside.ndjson says why"
UNREADABLE = "the server could not read this request; its log says why"
Arrays = Mapping[str, NDArray]
Accept = Callable[[Events], tuple[NDArray[np.int8], NDArray[np.int64]]]
# A request's outputs by name [n, 1], or the error that it gets.
Answer = dict[str, NDArray] | Exception


@dataclass(frozen=True)
class Group:
    """Requests, one behind the other, that were read as one.

    Attributes:
        places: of the requests among all.
        sizes: events of each.
        arrays: their columns, joined.
        parsed: what they say.
    """

    places: list[int]
    sizes: list[int]
    arrays: Arrays
    parsed: Parsed


def read_requests(
    parser: EventParser, requests: Sequence[Arrays | BadRequest], received_at: int, log: Callable[[str], None]
) -> tuple[list[Group], dict[int, BadRequest]]:
    """Read requests; those behind one another that have the same columns cost as much as one.

    Args:
        parser: of the stream.
        requests: columns [n, 1] by name, or why a request is refused already.
        received_at: when they arrived, nanoseconds since 1970.
        log: where a fault is told.

    Returns:
        The groups in order, and why a request is refused, by its place.
    """
    groups: list[Group] = []
    refused = {place: each for place, each in enumerate(requests) if isinstance(each, BadRequest)}
    readable = [(place, each) for place, each in enumerate(requests) if not isinstance(each, BadRequest)]
    for _, run in groupby(readable, key=lambda pair: _signature(pair[1])):
        _read_group(parser, list(run), received_at, log, groups, refused)
    return groups, refused


def _read_group(
    parser: EventParser,
    run: Sequence[tuple[int, Arrays]],
    received_at: int,
    log: Callable[[str], None],
    groups: list[Group],
    refused: dict[int, BadRequest],
) -> None:
    try:
        requests = [request for _, request in run]
        joined = {name: np.concatenate([request[name] for request in requests]) for name in requests[0]}
        parsed = parser.parse(joined, received_at)
        sizes = [len(next(iter(request.values()))) for request in requests]
        groups.append(Group([place for place, _ in run], sizes, joined, parsed))
    except Exception as error:  # whatever it is, the other requests must be answered
        if len(run) > 1:
            for pair in run:
                _read_group(parser, [pair], received_at, log, groups, refused)
            return
        if not isinstance(error, BadRequest):
            log(f"{type(error).__name__}: {error}")
        refused[run[0][0]] = error if isinstance(error, BadRequest) else BadRequest(UNREADABLE)


def _signature(request: Arrays) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
    """Equal for requests whose columns can be joined."""
    return tuple((name, column.dtype.str, column.shape[1:]) for name, column in sorted(request.items()))


def answers_of(
    groups: Sequence[Group], accept: Accept, log: Callable[[str], None]
) -> tuple[dict[int, Answer], NDArray[np.int32]]:
    """Take in the good events of all groups, as one commit.

    Args:
        groups: see `read_requests`.
        accept: takes events in; see `Ingest.accept`.
        log: where a fault is told.

    Returns:
        The answer to each request, by its place; a request with a good event gets the error that kept all of them out.
        And the statuses of all events that were answered.
    """
    good = [group.parsed.events.take(group.parsed.good()) for group in groups]
    some = [events for events in good if len(events)]
    status, offsets, error = np.zeros(0, np.int8), np.zeros(0, np.int64), None
    if some:
        try:
            status, offsets = accept(Events.join(some))
        except Exception as raised:  # a full disk, or a fault: the process goes on, and so do refusals
            log(f"{type(raised).__name__}: {raised}")
            error = raised
    answers: dict[int, Answer] = {}
    answered = []
    start = 0
    for group, events in zip(groups, good, strict=True):
        stop = start + len(events)
        columns = _columns(group.parsed, None if error else (status[start:stop], offsets[start:stop]))
        ends = np.cumsum(group.sizes).tolist()
        for place, first, last in zip(group.places, [0, *ends[:-1]], ends, strict=True):
            answer = {name: column[first:last] for name, column in columns.items()}
            if error and not (answer["status"] == REFUSED).all():
                answers[place] = error
            else:
                answers[place] = answer
                answered.append(answer["status"][:, 0])
        start = stop
    return answers, np.concatenate(answered) if answered else np.zeros(0, np.int32)


def _columns(parsed: Parsed, taken: tuple[NDArray, NDArray] | None) -> dict[str, NDArray]:
    """The outputs for all events of a group, [n, 1] each; those of good events are 0 where nothing was taken in."""
    n, good = len(parsed.events), parsed.good()
    status, offsets = np.full((n, 1), REFUSED, np.int32), np.full((n, 1), -1, np.int64)
    status[good, 0], offsets[good, 0] = taken or (0, -1)
    reasons = np.full((n, 1), b"", object)
    set_aside = good[status[good, 0] == REFUSED]
    reasons[set_aside, 0], offsets[set_aside, 0] = SET_ASIDE_REASON, -1
    for place, reason in parsed.reasons.items():
        reasons[place, 0] = reason.encode()
    return {"status": status, "reason": reasons, "offset": offsets}
