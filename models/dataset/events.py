"""Encoded events of one split: in memory when they fit, part by part when they do not, sharded over processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.dataset.shard import Shard
from workflows.core.errors import ArtefactError, ConfigError
from workflows.core.run import Run
from workflows.features.schema import FeatureSchema

__all__ = [
    "MEMORY_BUDGET_BYTES",
    "Batch",
    "Events",
    "load_events",
    "positive_label",
    "read_parts",
]

Batch = dict[str, NDArray]

MEMORY_BUDGET_BYTES = 4 << 30


class Events:
    """The encoded events of a split, or the positives among them.

    Columns are those of features/<split>: user_row and item_row int32 [R], at int64 [R], context features,
    recent_item_ids int32 [R, L], labels float32 [R], position int32 [R].
    """

    def __init__(
        self,
        parts: Sequence[Path],
        *,
        positives_of: str = "",
        known_items_only: bool = False,
        memory_budget_bytes: int = MEMORY_BUDGET_BYTES,
    ) -> None:
        """Describe the events; nothing is read yet.

        Args:
            parts: Parquet files, in order.
            positives_of: keep the rows whose label column of this name is above one half; empty: all rows.
            known_items_only: drop rows whose item_row is -1.
            memory_budget_bytes: a split whose columns are estimated above this is read part by part.
        """
        self._parts = list(parts)
        self._positives_of = positives_of
        self._known_items_only = known_items_only
        self._memory_budget_bytes = memory_budget_bytes
        self._columns: Batch | None = None
        self._num_rows: int | None = None

    def select(self, *, positives_of: str = "", known_items_only: bool = False) -> Events:
        """The events with a positive label and, if asked, an item of the catalogue."""
        return Events(
            self._parts,
            positives_of=positives_of or self._positives_of,
            known_items_only=known_items_only or self._known_items_only,
            memory_budget_bytes=self._memory_budget_bytes,
        )

    @property
    def fits_memory(self) -> bool:
        """Whether all parts together stay under the memory budget."""
        return sum(_memory_bytes(path) for path in self._parts) <= self._memory_budget_bytes

    @property
    def columns(self) -> Batch:
        """Every column of every selected row, read once; for splits that are needed whole (valid, test)."""
        if self._columns is None:
            self._columns = self._keep(read_parts(self._parts))
            self._num_rows = len(self._columns["user_row"])
        return self._columns

    def __len__(self) -> int:
        """R, the selected rows."""
        if self._num_rows is None:
            if self.fits_memory:
                return len(self.columns["user_row"])
            names = ["user_row", "item_row", *filter(None, [self._positives_of])]
            self._num_rows = sum(len(self._keep(read_parts([path], names))["user_row"]) for path in self._parts)
        return self._num_rows

    @property
    def latest(self) -> int:
        """The largest `at` of all parts, nanoseconds; the least int64 without events."""
        ends = [read_parts([path], ["at"])["at"] for path in self._parts]
        return max((int(at.max()) for at in ends if len(at)), default=np.iinfo(np.int64).min)

    def batches(
        self, batch_size: int, *, seed: int | None = None, shard: Shard | None = None, drop_last: bool = False
    ) -> Iterator[Batch]:
        """Go once over the selected rows.

        Args:
            batch_size: B, rows a batch; the last one may be shorter.
            seed: of the shuffled order (parts and rows in a part when streaming); None keeps the order.
            shard: this process's share; all shards get equally many rows (a remainder is left out).
            drop_last: leave a shorter last batch out.

        Yields:
            Column name -> [B] or [B, L].
        """
        shard = shard or Shard()
        pieces: list[Batch] = []
        num_held = 0
        random = None if seed is None else np.random.default_rng(seed)
        for columns in self.chunks(random):
            rows = _order(len(columns["user_row"]), random, shard)
            start = 0
            while start < len(rows):
                taken = rows[start : start + batch_size - num_held]
                pieces.append({name: values[taken] for name, values in columns.items()})
                start, num_held = start + len(taken), num_held + len(taken)
                if num_held == batch_size:
                    yield _join(pieces)
                    pieces, num_held = [], 0
        if pieces and not drop_last:
            yield _join(pieces)

    def chunks(self, random: np.random.Generator | None = None) -> Iterator[Batch]:
        """The selected rows in file order: all at once where they fit in memory, else part by part.

        Args:
            random: puts the parts in random order.
        """
        if self._columns is not None or self.fits_memory:
            yield self.columns
            return
        parts = self._parts if random is None else [self._parts[i] for i in random.permutation(len(self._parts))]
        for path in parts:
            yield self._keep(read_parts([path]))

    def _keep(self, columns: Batch) -> Batch:
        keep = np.ones(len(columns["user_row"]), bool)
        if self._positives_of:
            keep &= columns[self._positives_of] > 0.5
        if self._known_items_only:
            keep &= columns["item_row"] >= 0
        return columns if keep.all() else {name: values[keep] for name, values in columns.items()}


def load_events(run: Run, *splits: Literal["train", "valid", "test"]) -> Events:
    """The encoded events of one split, or of some, one after the other.

    Raises:
        ArtefactError: the features stage has not finished.
    """
    folder = run.require("features", check=False)
    return Events([part for split in splits for part in sorted((folder / split).glob("*.parquet"))])


def positive_label(schema: FeatureSchema, label: str) -> str:
    """The label column that makes an event positive: `label`, else the first one; empty: every event is.

    Raises:
        ConfigError: the data has no such label.
    """
    if label and label not in schema.labels:
        raise ConfigError(f"label = {label!r} is not a label of the data; it has {schema.labels or 'none'}")
    return label or next(iter(schema.labels), "")


def read_parts(paths: Sequence[Path], names: Sequence[str] | None = None) -> Batch:
    """Read columns of Parquet parts.

    Args:
        paths: files with equal columns, read in this order.
        names: columns wanted; None: all.

    Returns:
        Column name -> [R], or [R, L] for lists (all of one length).

    Raises:
        ArtefactError: there is no part, a column is missing, or a list column has lists of different lengths.
    """
    if not paths:
        raise ArtefactError("expected at least one Parquet part, found none; run cascade prepare again with --force")
    try:
        tables = [pq.read_table(path, columns=list(names) if names else None) for path in paths]
        wanted = list(names) if names else tables[0].column_names
        # The lists of an empty part have no length, which would fit no other part's.
        filled = [table for table in tables if len(table)] or tables[:1]
        return {name: np.concatenate([_to_numpy(table[name]) for table in filled]) for name in wanted}
    except (OSError, KeyError, ValueError) as error:
        raise ArtefactError(
            f"{paths[0].parent} cannot be read ({error}); run cascade prepare again with --force"
        ) from None


def _to_numpy(column: object) -> NDArray:
    array = column.combine_chunks()  # type: ignore[attr-defined]
    if not hasattr(array, "flatten") or not str(array.type).startswith(("list", "large_list", "fixed_size_list")):
        return np.asarray(array.to_numpy(zero_copy_only=False))
    flat = array.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat).reshape(len(array), -1) if len(array) else np.empty((0, 0), flat.dtype)


def _join(pieces: list[Batch]) -> Batch:
    if len(pieces) == 1:
        return pieces[0]
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _order(num_rows: int, random: np.random.Generator | None, shard: Shard) -> NDArray[np.int64]:
    order = np.arange(num_rows) if random is None else random.permutation(num_rows)
    if shard.size == 1:
        return order
    return order[: num_rows - num_rows % shard.size][shard.rank :: shard.size]


def _memory_bytes(path: Path) -> int:
    """Bytes of a part's columns in memory: leaf values times the width of their physical type."""
    metadata = pq.read_metadata(path)
    total = 0
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        for j in range(metadata.num_columns):
            chunk = group.column(j)
            total += int(chunk.num_values) * (4 if chunk.physical_type in ("INT32", "FLOAT") else 8)
    return total
