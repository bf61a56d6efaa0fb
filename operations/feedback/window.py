"""The slates that a version gave on a day as arrays: what was seen, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from operations.feedback.kept import read_whole
from operations.feedback.schema import JOINED, file_in
from operations.folder import REQUESTS, readable
from operations.log.schema import CONTEXT

__all__ = ["Window", "read_window"]

COLUMNS = ("slate_key", "rank", "shown", "label", "value", "at", "consumer", "path", "score", "weight", "user_key")
# Values of a context column that are told apart, the most frequent ones.
MOST_VALUES, OTHER = 20, "other"
RANKS = 1 << 16


@dataclass(frozen=True)
class Window:
    """n impressions of the sample.

    Attributes:
        slates: int64 [n], equal where the slate is.
        users: int64 [n], equal where the user is.
        ranks: int64 [n], 1 is the best.
        at: int64 [n], of the slate, nanoseconds since 1970.
        scores: float64 [n].
        weights: float64 [n], requests that the slate stands for.
        is_scored: bool [n], whether the score is meant as a probability: that of a popular item is not.
        positives: label -> bool [n], whether the item got it with a value above 0.
        slices: name, such as consumer -> texts [n].
    """

    slates: NDArray[np.int64]
    users: NDArray[np.int64]
    ranks: NDArray[np.int64]
    at: NDArray[np.int64]
    scores: NDArray[np.float64]
    weights: NDArray[np.float64]
    is_scored: NDArray[np.bool_]
    positives: Mapping[str, NDArray[np.bool_]]
    slices: Mapping[str, NDArray[np.object_]]

    def __len__(self) -> int:
        return len(self.slates)


def read_window(folder: Path, name: str) -> Window | None:
    """The window of a folder chain=K/date=D; None where nothing of it is joined, or of the sample.

    Raises:
        ArtefactError: a file cannot be read.
    """
    path = file_in(folder / JOINED / name)
    if path is None:
        return None
    table = read_whole(path, COLUMNS)
    table = table.filter(pc.greater(table["weight"], 0))
    shown = table.filter(table["shown"])
    if not shown.num_rows:
        return None
    keys = pc.dictionary_encode(table["slate_key"].combine_chunks())
    codes = keys.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    names = codes * RANKS + table["rank"].to_numpy()
    is_shown = table["shown"].to_numpy()
    users = pc.dictionary_encode(shown["user_key"].combine_chunks()).indices
    paths = _texts(shown["path"])
    return Window(
        slates=codes[is_shown],
        users=users.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64) + 1,
        ranks=shown["rank"].to_numpy().astype(np.int64),
        at=shown["at"].cast(pa.int64()).to_numpy(),
        scores=shown["score"].to_numpy().astype(np.float64),
        weights=shown["weight"].to_numpy().astype(np.float64),
        is_scored=paths != "popularity",
        positives=_positives(table.filter(pc.invert(table["shown"])), names[~is_shown], names[is_shown]),
        slices={"path": paths, "consumer": _texts(shown["consumer"]), **_context(folder, name, shown["slate_key"])},
    )


def _positives(labels: pa.Table, names: NDArray[np.int64], shown: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    texts, is_positive = _texts(labels["label"]), labels["value"].to_numpy() > 0
    return {label: np.isin(shown, names[(texts == label) & is_positive]) for label in sorted(set(texts.tolist()))}


def _context(folder: Path, name: str, slate_keys: pa.ChunkedArray) -> dict[str, NDArray[np.object_]]:
    """Values of the context columns with few of them, of slates [n]."""
    paths = sorted((folder / REQUESTS / name).glob("[!.]*.parquet"))
    if not paths:  # pruned
        return {}
    with readable(paths[0]):
        schema = pq.read_schema(paths[0])
    kinds = (pa.types.is_string, pa.types.is_integer)
    columns = [field.name for field in schema if field.name.startswith(CONTEXT) and any(k(field.type) for k in kinds)]
    if not columns:
        return {}
    parts = [
        read_whole(path, ["slate_key", *columns]) for path in paths if set(columns) <= set(pq.read_schema(path).names)
    ]
    rows = pa.concat_tables(parts)
    place = pc.index_in(slate_keys.combine_chunks(), value_set=rows["slate_key"].combine_chunks())
    found = {}
    for column in columns:
        texts = _texts(rows[column].combine_chunks().take(place))
        values, counts = np.unique(texts.astype(str), return_counts=True)
        common = values[np.argsort(-counts, kind="stable")[:MOST_VALUES]]
        found[column.removeprefix(CONTEXT)] = np.where(np.isin(texts.astype(str), common), texts, OTHER)
    return found


def _texts(column: pa.ChunkedArray | pa.Array) -> NDArray[np.object_]:
    """A column as texts; "null" where there is none."""
    return np.array(column.cast(pa.string()).fill_null("null").to_pylist(), object)
