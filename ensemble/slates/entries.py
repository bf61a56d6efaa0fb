"""From the slates of a server to the entries of a cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cascade_client import Id, Slate
from cascade_client.slate_entry import NEVER, POPULAR, Entry, entry_key, user_key
from ensemble.slates.ask import Answer
from ensemble.slates.cache.base import Item
from ensemble.slates.records import Current
from runtime.stream.keys import item_keys

__all__ = ["entries_of", "entry_of", "popular_item"]


def entries_of(current: Current, answer: Answer) -> Iterator[Item]:
    """What is written for the slates of some users.

    Args:
        current: the version that made them, and how long they are served.
        answer: the slates.
    """
    is_text = current.user_id_dtype == "BYTES"
    expires_ms = answer.asked_at_ms + current.ttl_s * 1000
    for slate in answer.slates:
        key = user_key(slate.user_id, is_text)
        if key is not None:
            entry = entry_of(current.version, slate, answer.asked_at_ms, expires_ms)
            yield Item(entry_key(current.version, key), entry.to_bytes(), expires_ms)


def popular_item(current: Current, slate: Slate, made_at_ms: int) -> Item:
    """What is written for everybody: it never expires."""
    entry = entry_of(current.version, slate, made_at_ms, NEVER)
    return Item(entry_key(current.version, POPULAR), entry.to_bytes())


def entry_of(version: str, slate: Slate, made_at_ms: int, expires_ms: int) -> Entry:
    """The entry of a slate."""
    return Entry(
        version=version,
        offset=-1 if slate.stream_offset is None else slate.stream_offset,
        made_at_ms=made_at_ms,
        expires_ms=expires_ms,
        path=slate.path,
        item_ids=slate.item_ids,
        scores=np.array(slate.scores, np.float32),
        keys=_keys(slate.item_ids),
    )


def _keys(items: Sequence[Id]) -> np.ndarray:
    texts = [item.encode() for item in items if isinstance(item, str)]
    return item_keys(np.array(texts, object) if texts else np.array(items, np.int64))
