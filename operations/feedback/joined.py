"""The rows of MON/joined: the impressions of slates, and what became of them."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from operations.feedback.events import SHOWN
from operations.feedback.schema import JOINED_COLUMNS

__all__ = ["IMPRESSIONS", "Impressions", "joined_rows"]

# What counts as seen: what the client reports; what is not below the item under the last one that got a label, and the
# whole of a slate in which none did; or the whole slate.
Impressions = Literal["reported", "examined", "slate"]
IMPRESSIONS: tuple[Impressions, ...] = get_args(Impressions)
OF_SLATE = ("slate_key", "at", "consumer", "path", "weight", "user_key")


class _Labels(NamedTuple):
    """Labels that items of slates got, each once: the slate's place and the rank of each, and their columns."""

    slate: NDArray[np.int64]
    rank: NDArray[np.int64]
    table: pa.Table


def joined_rows(slates: pa.Table, events: pa.Table, impressions: Impressions) -> pa.Table:
    """The rows of some slates.

    Args:
        slates: rows of requests, each slate once.
        events: rows of feedback that are of these slates.
        impressions: what counts as seen.
    """
    places = pc.index_in(events["slate_key"].combine_chunks(), value_set=slates["slate_key"].combine_chunks())
    is_here = pc.is_valid(places)
    events, at_slate = events.filter(is_here), places.filter(is_here).to_numpy(zero_copy_only=False).astype(np.int64)
    ranks = events["rank"].to_numpy().astype(np.int64)
    is_shown = np.asarray(pc.equal(events["label"], SHOWN).combine_chunks().to_numpy(zero_copy_only=False), bool)
    labels = _once(at_slate[~is_shown], ranks[~is_shown], events.filter(pa.array(~is_shown)))
    lists = slates["item_rows"].combine_chunks()
    of = pc.list_parent_indices(lists).to_numpy().astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(pc.list_value_length(lists).to_numpy(zero_copy_only=False))]).astype(int)
    rank = np.arange(len(of)) - starts[of] + 1
    if impressions == "examined":
        last = np.zeros(slates.num_rows, np.int64)
        np.maximum.at(last, labels.slate, labels.rank)
        seen = (last[of] == 0) | (rank <= last[of] + 1)
    elif impressions == "reported":
        seen = np.zeros(len(of), bool)
        seen[starts[at_slate] + ranks - 1] = True
    else:
        seen = np.ones(len(of), bool)
    shown = _rows(slates, of[seen], rank[seen], starts)
    return pa.concat_tables([shown, _rows(slates, labels.slate, labels.rank, starts, labels.table)])


def _once(slate: NDArray[np.int64], rank: NDArray[np.int64], events: pa.Table) -> _Labels:
    """Each label of an item of a slate once, as its first event has it, with the number of its events."""
    texts = pc.dictionary_encode(events["label"].combine_chunks())
    codes = texts.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    at = events["at"].cast(pa.int64()).to_numpy()
    keys = np.array(events["event_key"].to_pylist(), "S16") if len(at) else np.zeros(0, "S16")
    order = np.lexsort([keys, at, codes, rank, slate])
    named = np.stack([slate, rank, codes])[:, order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = (named[:, 1:] != named[:, :-1]).any(axis=0)
    first = np.flatnonzero(is_first)
    counts = np.diff(np.append(first, len(order)))
    taken = order[first]
    table = events.take(pa.array(taken)).append_column("num_events", pa.array(counts, pa.int32()))
    return _Labels(slate[taken], rank[taken], table)


def _rows(
    slates: pa.Table, of: NDArray[np.int64], rank: NDArray[np.int64], starts: NDArray, labels: pa.Table | None = None
) -> pa.Table:
    """Rows of items of slates: impressions, or labels."""
    items, scores = (pc.list_flatten(slates[name].combine_chunks()) for name in ("item_rows", "scores"))
    place = pa.array(starts[of] + rank - 1)
    columns: dict[str, Any] = {name: slates[name].take(pa.array(of)) for name in OF_SLATE}
    columns |= {"rank": pa.array(rank), "item_row": items.take(place), "score": scores.take(place)}
    columns["shown"] = pa.array(np.full(len(of), labels is None))
    if labels is not None:
        delay = labels["at"].cast(pa.int64()).to_numpy() - slates["at"].cast(pa.int64()).to_numpy()[of]
        columns |= {name: labels[name] for name in ("label", "value", "how", "num_events")}
        columns["delay_s"] = pa.array(delay / 1e9)
    arrays = [
        columns[name].cast(kind) if name in columns else pa.nulls(len(of), kind)
        for name, kind in JOINED_COLUMNS.items()
    ]
    return pa.table(arrays, pa.schema(JOINED_COLUMNS))
