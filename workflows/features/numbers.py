"""Numbers that no model can be trained on: refused with their row, or said where they count as missing."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from workflows.core import console
from workflows.core.errors import DataError
from workflows.features.source import Column
from workflows.features.tables import SPLITS, Layout, RowTable

__all__ = ["FLOAT32_MAX", "check_numbers"]

FLOAT32_MAX = float(np.finfo(np.float32).max)

# A file and a row of it -> how that row is called, such as "item = 7".
Named = Callable[[Path, int], str]


class _Found(msgspec.Struct):
    """What a column holds that is no plain number: counts, and the first row beyond float32."""

    num_beyond: int = 0
    num_infinite: int = 0
    num_not_logged: int = 0
    example: str = ""


def check_numbers(layout: Layout, users: RowTable, items: RowTable, context: Sequence[Column]) -> None:
    """Look at the continuous features of every table and split before any of them is fitted.

    A value beyond float32 would make the standard deviation of its column infinite, or the value itself, and every loss
    with it. The extremes that Parquet keeps of each row group tell where to look; no other row group is read.

    Args:
        layout: of data/.
        users: their table.
        items: their table.
        context: columns of the events that are features.

    Raises:
        DataError: a finite value is beyond float32.
    """

    def named(side: str, ids: NDArray, row: int) -> str:
        raw = ids[row] if row >= 0 else "one outside the catalogue"
        return f"{layout.id_columns[side]} = {raw.decode() if isinstance(raw, bytes) else raw}"

    def event(path: Path, row: int) -> str:
        found = pq.read_table(path, columns=["user_row", "item_row"]).slice(row, 1).to_pylist()[0]
        return f"{named('user', users.ids, found['user_row'])} and {named('item', items.ids, found['item_row'])}"

    tables = {"user": users, "item": items}
    for side, table in tables.items():
        name_row = functools.partial(lambda side, ids, _, row: named(side, ids, row), side, table.ids)
        path = layout.folder / f"{side}s.parquet"
        _check_table(f"{side}s", f"features.{side}s", [path], table.columns[1:], name_row)
    parts = [part for split in SPLITS for part in sorted((layout.folder / split).glob("*.parquet"))]
    _check_table("events", "features.context", parts, context, event)


def _check_table(table: str, key: str, paths: Sequence[Path], columns: Sequence[Column], name_row: Named) -> None:
    """Refuse what is beyond float32, and say what is infinite or has no logarithm."""
    for column in columns:
        if column.spec.kind != "continuous":
            continue
        found = _look_at(column, paths, name_row)
        if found.num_beyond:
            rows = "row" if found.num_beyond == 1 else "rows"
            raise DataError(
                f"{table}: column '{column.column}' ({key}.{column.column}) must hold numbers between -3.4e38 and "
                f"3.4e38, got {found.num_beyond:,} {rows} beyond, for example {found.example}; correct such values or "
                "make them null, drop these rows, or use kind = 'bucketised'"
            )
        for count, what in (
            (found.num_infinite, "infinite"),
            (found.num_not_logged, "-1 or less, of which log = true takes no logarithm"),
        ):
            if count:
                console.say(
                    f"features: {table}: {count:,} values of '{column.column}' are {what}; they count as missing"
                )


def _look_at(column: Column, paths: Sequence[Path], name_row: Named) -> _Found:
    found = _Found()
    for path in paths:
        with pq.ParquetFile(path) as file:
            if not pa.types.is_floating(file.schema_arrow.field(column.column).type):
                _look_for_negatives(column, file, found)
                continue
            for start, values in _suspicious(column, file):
                _count(column, path, start, values, name_row, found)
    return found


def _count(column: Column, path: Path, start: int, values: NDArray[np.float64], name_row: Named, found: _Found) -> None:
    """Add up what a row group holds; NaN is a missing value like null, and not counted."""
    infinite = np.isinf(values)
    beyond = np.flatnonzero((np.abs(values) > FLOAT32_MAX) & ~infinite)
    if len(beyond) and not found.num_beyond:
        found.example = f"the row with {name_row(path, start + int(beyond[0]))}: {values[beyond[0]]:g}"
    found.num_beyond += len(beyond)
    found.num_infinite += int(infinite.sum())
    if column.spec.log:
        found.num_not_logged += int(((values <= -1.0) & ~infinite).sum())


def _look_for_negatives(column: Column, file: pq.ParquetFile, found: _Found) -> None:
    """Integers and decimals fit float32; a logarithm of them may not be."""
    if column.spec.log:
        for _, values in _suspicious(column, file):
            found.num_not_logged += int((values <= -1.0).sum())


def _suspicious(column: Column, file: pq.ParquetFile) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """First row and values (NaN for null) of the row groups whose extremes are out of bounds, or not known."""
    start, lowest = 0, -1.0 if column.spec.log else -FLOAT32_MAX
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        places = [j for j in range(group.num_columns) if group.column(j).path_in_schema == column.column]
        known = group.column(places[0]).statistics if places else None
        if not _within(known, lowest, is_log=column.spec.log):
            read = file.read_row_group(number, columns=[column.column])[column.column]
            yield start, read.cast(pa.float64(), safe=False).to_numpy().astype(np.float64)
        start += group.num_rows


def _within(known: Any, lowest: float, *, is_log: bool) -> bool:
    if known is None or not known.has_min_max:
        return False
    low, high = float(known.min), float(known.max)
    return (low > lowest if is_log else low >= lowest) and high <= FLOAT32_MAX
