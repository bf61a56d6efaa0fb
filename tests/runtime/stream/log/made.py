"""Events to write into a log, and what to compare them by."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from runtime.stream.events import COLUMNS, FORGET, INTERACTION, ITEM, KINDS, Events

LABELS = ("", "click", "buy")
INTS = st.integers(-(2**63), 2**63 - 1)
# Every character, and lengths around the borders of their own widths.
TEXTS = st.one_of(
    st.sampled_from(["", "\n", "a\nb\r", "007", "é" * 130, "x" * 255, "x" * 256, "\U0001f600", "\0"]),
    st.text(max_size=12),
).map(str.encode)


def objects(values) -> np.ndarray:
    column = np.empty(len(values), object)
    column[:] = values
    return column


def events_of(users, items=None, *, kind=None, event_id=None, extra=None, at=None, labels=LABELS) -> Events:
    """Clicks with these ids, int or bytes."""
    n = len(users)
    items = list(users) if items is None else items
    ids = [objects(v) if v and isinstance(v[0], bytes) else np.array(v, np.int64) for v in (list(users), list(items))]
    return Events(
        kind=np.array(kind if kind is not None else [INTERACTION] * n, np.uint8),
        user=ids[0],
        item=ids[1],
        at=np.arange(n, dtype=np.int64) + 10**18 if at is None else np.array(at, np.int64),
        label=np.full(n, 1 if len(labels) > 1 else 0, np.uint8),
        value=np.ones(n, np.float32),
        event_id=objects(event_id or [b""] * n),
        extra=objects(extra or [b""] * n),
        labels=labels,
    )


def columns_of(events: Events) -> dict:
    """The values of events as plain lists; NaN equals itself here."""
    found = {name: getattr(events, name).tolist() for name in COLUMNS}
    found["value"] = [str(value) for value in found["value"]]
    found["label"] = [events.labels[place] for place in found["label"]]
    return found


def same(left: Events, right: Events) -> bool:
    """Whether two are equal in every column and dtype."""
    types = [[getattr(events, name).dtype for name in COLUMNS] for events in (left, right)]
    return columns_of(left) == columns_of(right) and types[0] == types[1]


@st.composite
def batches(draw, min_size=0, max_size=20) -> Events:
    """Any events that can be."""
    n = draw(st.integers(min_size, max_size))
    column = lambda values: draw(st.lists(values, min_size=n, max_size=n))  # noqa: E731
    labels = tuple(draw(st.lists(st.text(max_size=5), min_size=1, max_size=4, unique=True)))
    return Events(
        kind=np.array(column(st.sampled_from([INTERACTION] * 5 + [ITEM, FORGET, len(KINDS) - 1])), np.uint8),
        user=ids_of(draw, n),
        item=ids_of(draw, n),
        at=np.array(column(INTS), np.int64),
        label=np.array(column(st.integers(0, len(labels) - 1)), np.uint8),
        value=np.array(column(st.floats(width=32)), np.float32),
        event_id=objects(column(TEXTS) if draw(st.booleans()) else [b""] * n),
        extra=objects(column(TEXTS) if draw(st.booleans()) else [b""] * n),
        labels=labels,
    )


def ids_of(draw, n):
    kind = draw(st.sampled_from([INTS, TEXTS]))
    values = draw(st.lists(kind, min_size=n, max_size=n))
    return objects(values) if kind is TEXTS else np.array(values, np.int64)
