"""Halves of requests put together: in the ensemble layout one process knows what was asked, another the answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

from runtime.log.record import REQUEST, WHOLE, Record
from runtime.log.segments import Segment

__all__ = ["Joined", "join_halves"]

# When it was written, the place of its segment, and the record.
Half = tuple[int, int, Record]


class Joined(NamedTuple):
    """What some segments hold.

    Attributes:
        whole: records with the segment that says who wrote them and the time that the server had them, microseconds.
        left: halves without the other one, by segment.
    """

    whole: list[tuple[Record, Segment, int]]
    left: dict[int, list[Record]]


def join_halves(segments: Sequence[Segment]) -> Joined:
    """The whole requests of some segments.

    Halves of one id and number of users, of one server, are paired in the order in which they were written: a sender
    may give two requests the same id.
    """
    whole: list[tuple[Record, Segment, int]] = []
    asked: dict[Hashable, list[Half]] = defaultdict(list)
    answered: dict[Hashable, list[Half]] = defaultdict(list)
    for number, segment in enumerate(segments):
        # The monotonic clocks of two machines have nothing in common.
        server = tuple(segment.header.get(name) for name in ("chain_key", "host", "boot_id"))
        for record in segment.records:
            if record.kind == WHOLE:
                whole.append((record, segment, record.service_us))
            else:
                halves = asked if record.kind == REQUEST else answered
                halves[server, record.request_id, record.num_users].append((record.mono, number, record))
    left: dict[int, list[Record]] = defaultdict(list)
    for key, requests in asked.items():
        answers = answered.pop(key, [])
        # Nearly always there is one of each.
        if len(requests) > 1 or len(answers) > 1:
            requests, answers = sorted(requests, key=_written), sorted(answers, key=_written)
        for (_, number, request), (_, _, answer) in zip(requests, answers, strict=False):
            whole.append((_joined(request, answer), segments[number], _took_us(request, answer)))
        _leave(left, requests[len(answers) :])
        _leave(left, answers[len(requests) :])
    for answers in answered.values():
        _leave(left, answers)
    return Joined(whole, left)


def _written(half: Half) -> int:
    return half[0]


def _leave(left: dict[int, list[Record]], halves: Iterable[Half]) -> None:
    for _, number, record in halves:
        left[number].append(record)


def _joined(request: Record, answer: Record) -> Record:
    """The request of one process with the answer of another, at whose time it was answered."""
    arrays = {**request.arrays, **answer.arrays}
    return request._replace(kind=WHOLE, wall=answer.wall, mono=answer.mono, batch=answer.batch, arrays=arrays)


def _took_us(request: Record, answer: Record) -> int:
    """From when the first process had it until the last one had answered."""
    return max((answer.mono - request.mono) // 1000 + request.service_us, 0)
