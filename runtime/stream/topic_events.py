"""Checked events as messages of a topic: a line of JSON each, which says to a worker exactly what was checked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone

from runtime.stream.events import FORGET, INTERACTION, ITEM, KINDS, Events
from runtime.stream.spec import StreamSpec

__all__ = ["messages_of"]

SECOND_NS = 1_000_000_000
# From here on a number says by its size that it counts nanoseconds.
FIRST_NUMBER_NS = 10**17


def messages_of(events: Events, spec: StreamSpec) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of each event.

    The key is the user, of an event of an item the item, so that the order of either is kept in one partition.

    Args:
        events: checked.
        spec: of the stream.
    """
    columns = (
        *(events.kind.tolist(), events.user.tolist(), events.item.tolist(), events.at.tolist()),
        *(events.label.tolist(), events.value.tolist(), events.event_id.tolist(), events.extra.tolist()),
    )
    for kind, user, item, at, label, value, event_id, extra in zip(*columns, strict=True):
        said: dict[str, object] = {}
        if kind != ITEM:
            said["user_id"] = _plain(user)
        if kind != FORGET:
            said["item_id"] = _plain(item)
        if kind == INTERACTION:
            said["label"] = events.labels[label]
        else:
            said["kind"] = KINDS[kind]
        if kind == ITEM:
            said[spec.stock] = value > 0
        elif value != 1.0:
            said["value"] = value
        said["at"] = at if at >= FIRST_NUMBER_NS else _iso(at)
        if event_id:
            said["event_id"] = event_id.decode()
        if extra:
            said["extra"] = json.loads(extra)
        yield str(_plain(item if kind == ITEM else user)).encode(), json.dumps(said, separators=(",", ":")).encode()


def _plain(value: int | bytes) -> int | str:
    return value.decode() if isinstance(value, bytes) else value


def _iso(at: int) -> str:
    seconds, rest = divmod(at, SECOND_NS)
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
