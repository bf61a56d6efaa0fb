"""Halves of requests put together: in the ensemble layout one process knows what was asked, another the answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from runtime.log.record import ANSWER, REQUEST, WHOLE, Record
from runtime.log.segments import Segment

__all__ = ["Joined", "join_halves"]


class Joined(NamedTuple):
    """What some segments hold.

    Attributes:
        whole: records with the segment that says who wrote them and the time that the server had them, microseconds.
        left: halves without the other one, by segment.
    """

    whole: list[tuple[Record, Segment, int]]
    left: dict[int, list[Record]]


def join_halves(segments: Sequence[Segment]) -> Joined:
    """The whole requests of some segments; halves of one id are paired in the order in which they were written."""
    whole: list[tuple[Record, Segment, int]] = []
    halves: dict[tuple[str, str, int], list[tuple[int, Record]]] = defaultdict(list)
    for number, segment in enumerate(segments):
        for record in segment.records:
            if record.kind == WHOLE:
                whole.append((record, segment, record.service_us))
            else:
                halves[segment.header["chain_key"], record.request_id, record.kind].append((number, record))
    left: dict[int, list[Record]] = defaultdict(list)
    for (chain, request_id, kind), asked in halves.items():
        if kind != REQUEST:
            continue
        answered = halves.get((chain, request_id, ANSWER), [])
        pairs = zip(_by_time(asked), _by_time(answered), strict=False)
        for (number, request), (_, answer) in pairs:
            whole.append((_joined(request, answer), segments[number], _took_us(request, answer)))
        _leave(left, _by_time(asked)[len(answered) :])
        _leave(left, _by_time(answered)[len(asked) :])
    for (chain, request_id, kind), found in halves.items():
        if kind == ANSWER and (chain, request_id, REQUEST) not in halves:
            _leave(left, found)
    return Joined(whole, left)


def _by_time(halves: list[tuple[int, Record]]) -> list[tuple[int, Record]]:
    return sorted(halves, key=lambda half: half[1].mono)


def _leave(left: dict[int, list[Record]], halves: Iterable[tuple[int, Record]]) -> None:
    for number, record in halves:
        left[number].append(record)


def _joined(request: Record, answer: Record) -> Record:
    """The request of one process with the answer of another, at whose time it was answered."""
    arrays = {**request.arrays, **answer.arrays}
    return replace(request, kind=WHOLE, wall=answer.wall, mono=answer.mono, batch=answer.batch, arrays=arrays)


def _took_us(request: Record, answer: Record) -> int:
    """From when the first process had it until the last one had answered."""
    return max((answer.mono - request.mono) // 1000 + request.service_us, 0)
