"""Columns of the send gate's log as arrays: what is no number, flag, day or user is refused by its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from workflows.core.errors import DataError
from workflows.tables import values

__all__ = ["MOST_DAYS", "days_of", "flags", "is_number", "numbers", "read_table", "users_of"]

# Thirty years; a day far from the others is a slip, and costs memory for all of them.
MOST_DAYS = 11_000
LARGEST = 1e100  # of a number whose product with another one is still finite


def read_table(path: Path, needed: tuple[str, ...]) -> pa.Table:
    """A file with these columns and at least a row; of a decision_id, one row.

    Raises:
        DataError: it is none.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} cannot be read ({error}); docs/SEND_GATE.md says what it holds") from None
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise DataError(f"{path} lacks the columns {', '.join(missing)}; docs/SEND_GATE.md says what they hold")
    if not len(table):
        raise DataError(f"{path} is empty")
    _refuse_repeats(table, path)
    return table


def is_number(kind: pa.DataType) -> bool:
    """Whether a column holds numbers or flags."""
    return values.is_number(kind) or bool(pa.types.is_boolean(kind))


def numbers(table: pa.Table, name: str) -> NDArray[np.float64]:
    """A column, float64 [R], NaN where it has no value.

    Raises:
        DataError: it holds something else, or a number whose square is none.
    """
    if not is_number(table.schema.field(name).type):
        raise DataError(f"column {name!r} of the log holds {table.schema.field(name).type}, expected numbers")
    found = values.floats_of(table[name])
    if (large := np.isfinite(found) & (np.abs(found) > LARGEST)).any():
        raise DataError(f"column {name!r} of the log has {found[large][0]:g}, expected numbers up to {LARGEST:g}")
    return found


def flags(table: pa.Table, name: str) -> NDArray[np.bool_]:
    """A column of 0 and 1 or false and true, bool [R].

    Raises:
        DataError: it has another value, or none somewhere.
    """
    found = numbers(table, name)
    if (other := ~np.isin(found, (0.0, 1.0))).any():
        raise DataError(
            f"column {name!r} of the log is {found[other][0]:g} in {other.sum():,} rows; expected 0 or 1 in each"
        )
    return np.asarray(found == 1.0)


def days_of(table: pa.Table, path: Path) -> NDArray[np.int64]:
    """Dates as days since 1970, whole numbers as they are, int64 [R].

    Raises:
        DataError: there is something else, or they lie further apart than `MOST_DAYS`.
    """
    column = table["day"]
    if pa.types.is_date32(column.type) and not column.null_count:
        found = np.asarray(column.cast(pa.int32()).to_numpy()).astype(np.float64)
    else:
        found = numbers(table, "day")
    if (bad := ~(np.abs(found) < 2.0**53) | (found != np.floor(found))).any():
        raise DataError(f"{path}: day is {found[bad][0]:g} in {bad.sum():,} rows; expected dates, or whole numbers")
    if found.max() - found.min() > MOST_DAYS:
        raise DataError(
            f"{path}: day goes from {found.min():,.0f} to {found.max():,.0f}; expected at most {MOST_DAYS:,} days"
        )
    return found.astype(np.int64)


def users_of(table: pa.Table, path: Path) -> NDArray:
    """Column user_id, numbers or texts [R].

    Raises:
        DataError: there is none in a row.
    """
    if table["user_id"].null_count:
        raise DataError(f"{path}: user_id is missing in {table['user_id'].null_count:,} rows; expected one in each")
    ids = table["user_id"].to_numpy(zero_copy_only=False)
    return ids.astype("U") if ids.dtype == object else np.asarray(ids)


def _refuse_repeats(table: pa.Table, path: Path) -> None:
    """Refuse a table, if it has a column decision_id, that says something twice of a decision.

    Raises:
        DataError: a value is there more than once.
    """
    if "decision_id" not in table.column_names:
        return
    found = pc.value_counts(table["decision_id"].combine_chunks())
    counts = found.field("counts").to_numpy()
    if (twice := counts > 1).any():
        first = found.field("values")[int(twice.argmax())].as_py()
        raise DataError(f"{path}: decision_id {first!r} is there {counts[twice][0]} times; expected once")
