"""What a synthetic run has of stream features: events up to now, and the columns and encoders that are made of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from runtime.ranker.pairs import STREAM, STREAM_KNOWN
from workflows.features.config import StreamFeature
from workflows.features.schema import Feature
from workflows.stream.columns import TableStream
from workflows.stream.features import LiveColumn, column_spec, live_columns
from workflows.stream.said import SAID_FILE, Said

__all__ = [
    "STREAM_FEATURES",
    "encoder_records",
    "live_inputs",
    "num_rows",
    "pair_names",
    "write_encoded",
    "write_events",
]

# Windows whose hops are hours long, so that a test does not straddle an edge of them.
STREAM_FEATURES = {
    "clicks": StreamFeature(key="user", count="click", windows=["1d", "7d"]),
    "idle": StreamFeature(key="user", since="any"),
    "eager": StreamFeature(key="user", rate=["click", "impression"], windows=["7d"], prior=2.0, ttl="2d"),
    "bought": StreamFeature(key="item", count="click", windows=["1d", "7d"]),
    "ctr": StreamFeature(key="item", rate=["click", "impression"], windows=["7d"], prior=5.0),
}
NUM_EVENTS, SPACING_NS = 1_200, 700 * 10**9
PARTS = {"train": 0.8, "valid": 0.1, "test": 0.1}


def write_events(
    data: Path, rng: np.random.Generator, context: Mapping[str, Any], features: Mapping[str, StreamFeature]
) -> tuple[LiveColumn, ...]:
    """Write the three splits: impressions of the last days, of which those are clicked that the user has seen.

    Nothing is within a minute of an edge between two codes of a `since`.

    Args:
        data: the folder, whose state/serve is there.
        rng: of who is shown what.
        context: context columns and one value of each.
        features: of the stream.

    Returns:
        The columns, with their bases.
    """
    indptr, seen_rows = (np.load(data / "state/serve" / f"{name}.npy") for name in ("seen_indptr", "seen_rows"))
    num_users, num_items = len(indptr) - 1, int(seen_rows.max()) + 1
    seen = [seen_rows[a:b] for a, b in pairwise(indptr.tolist())]
    # The last user has no event at all; the one before only old ones.
    users = rng.integers(0, num_users - 2, NUM_EVENTS)
    users[rng.random(NUM_EVENTS) < 0.05] = 3
    items = rng.integers(0, num_items, NUM_EVENTS)
    for place in np.flatnonzero(rng.random(NUM_EVENTS) < 0.6).tolist():
        if len(of_user := seen[users[place]]):
            items[place] = rng.choice(of_user)
    users[:40], items[:40] = num_users - 2, rng.choice(seen[num_users - 2], 40)
    clicked = np.array([item in seen[user] for user, item in zip(users.tolist(), items.tolist(), strict=True)])
    at = time.time_ns() - 500 * 10**9 - SPACING_NS * np.arange(NUM_EVENTS)[::-1]
    columns = {"user_row": users, "item_row": items, "at": at, "click": clicked.astype(np.float32)}
    table = pa.table({**columns, **{name: pa.array([value] * NUM_EVENTS) for name, value in context.items()}})
    starts = np.cumsum([0, *(int(share * NUM_EVENTS) for share in PARTS.values())])
    for name, (start, stop) in zip(PARTS, pairwise(starts.tolist()), strict=True):
        (data / name).mkdir(exist_ok=True)
        pq.write_table(table.slice(start, stop - start), data / name / "part_000.parquet")
    in_train = np.arange(NUM_EVENTS) < starts[1]
    said = Said.of_rows(users, items, at, in_train, {"click": clicked})
    said.write(data / SAID_FILE)
    return tuple(TableStream(said).with_base(column) for column in live_columns(features))


def write_encoded(data: Path, features: Path, columns: Sequence[LiveColumn], inputs: Sequence[Feature]) -> None:
    """Write features/train: the rows of data/train, and the codes of the users' columns at their instants."""
    rows = pq.read_table(data / "train", columns=["user_row", "item_row", "at"])
    stream = TableStream(Said.read(data / SAID_FILE))
    of_users = [stream.with_base(column) for column in columns if column.key == "user"]
    found = stream.of(of_users, rows["user_row"].to_numpy(), rows["at"].to_numpy())
    for column, made in zip(of_users, inputs, strict=True):
        values = found[column.name]
        codes = np.where(np.isnan(values), 1, 3 + np.searchsorted(_cuts(column), values, side="right"))
        rows = rows.append_column(made.name, pa.array(codes.astype(np.int32)))
    (features / "train").mkdir()
    pq.write_table(rows, features / "train/part_000.parquet")


def num_rows() -> dict[str, int]:
    """Of the splits."""
    return {name: int(share * NUM_EVENTS) for name, share in PARTS.items()}


def live_inputs(columns: Sequence[LiveColumn], first: int) -> list[Feature]:
    """The model inputs of the users' columns, numbered from `first`."""
    of_users = [column for column in columns if column.key == "user"]
    return [
        Feature(f"context_{number}_{c.name}", "context", "categorical", len(_cuts(c)) + 4, 0, c.name, c.name)
        for number, c in enumerate(of_users, start=first)
    ]


def encoder_records(columns: Sequence[LiveColumn], inputs: Sequence[Feature]) -> list[dict[str, Any]]:
    """How context.json encodes them."""
    of_users = [column for column in columns if column.key == "user"]
    return [
        {"name": made.name, "column": column.name, "kind": "bucketised", "dtype": "float64", "length": 0}
        | {"boundaries": _cuts(column)}
        for column, made in zip(of_users, inputs, strict=True)
    ]


def pair_names(columns: Sequence[LiveColumn]) -> tuple[str, ...]:
    """What the items' columns are called as pair features."""
    names = [STREAM + column.name for column in columns if column.key == "item"]
    return (STREAM_KNOWN, *names) if names else ()


def _cuts(column: LiveColumn) -> list[float]:
    return column_spec(column).boundaries
