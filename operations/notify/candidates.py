"""The candidates of a batch: pushes that could be sent now, one row each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from workflows.core.errors import DataError
from workflows.tables.values import floats_of, is_number

__all__ = ["Candidates", "read_candidates", "read_opted_out"]

PAGE = "docs/SEND_GATE.md says what it holds"


class Candidates(msgspec.Struct, frozen=True):
    """N pushes that could be sent.

    Attributes:
        path: of the file.
        ids: str [N], decision_id, each once.
        users: int64 or str [N].
        zones: names of time zones [N], "" where the file has none.
        opted_out: bool [N], whether the file says that notifications are off.
        features: column -> float64 [N], those that the gate reads.
    """

    path: Path
    ids: NDArray
    users: NDArray
    zones: NDArray
    opted_out: NDArray[np.bool_]
    features: dict[str, NDArray[np.float64]]

    def take(self, rows: NDArray) -> Candidates:
        """Some of them."""
        taken = {name: getattr(self, name)[rows] for name in ("ids", "users", "zones", "opted_out")}
        features = {name: values[rows] for name, values in self.features.items()}
        return Candidates(path=self.path, features=features, **taken)


def read_candidates(path: Path, features: Sequence[str]) -> Candidates:
    """Read a Parquet file or a folder of them.

    Args:
        path: with the columns decision_id, user_id and `features`, and where there are any, time_zone and opted_out.
        features: the columns that the gate reads.

    Raises:
        DataError: it cannot be read, lacks a column, or holds what is no such thing.
    """
    table = _table(path, ("decision_id", "user_id", *features))
    ids = _ids(path, table, "decision_id").astype("U")
    found, counts = np.unique(ids, return_counts=True)
    if (twice := counts > 1).any():
        raise DataError(
            f"{path}: decision_id {found[twice][0]!r} is there {counts[twice][0]} times; expected once each"
        )
    return Candidates(
        path=path,
        ids=ids,
        users=_ids(path, table, "user_id"),
        zones=_zones(path, table),
        opted_out=_opted_out(path, table),
        features={name: _feature(path, table, name) for name in features},
    )


def read_opted_out(path: Path) -> NDArray:
    """The users of a Parquet file with a column user_id.

    Raises:
        DataError: see `read_candidates`.
    """
    return _ids(path, _table(path, ("user_id",)), "user_id")


def _table(path: Path, needed: Sequence[str]) -> pa.Table:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} cannot be read ({error}); expected Parquet; {PAGE}") from None
    if missing := [name for name in needed if name not in table.column_names]:
        raise DataError(f"{path} lacks the columns {', '.join(missing)}; {PAGE}")
    if not len(table):
        raise DataError(f"{path} has no row; expected one for each candidate or user")
    return table


def _ids(path: Path, table: pa.Table, name: str) -> NDArray:
    column = table[name]
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise DataError(f"{path}: {name} holds {kind}, expected integers or texts")
    if column.null_count:
        raise DataError(f"{path}: {name} is missing in {column.null_count:,} rows; expected one in each")
    if not pa.types.is_integer(kind):
        return np.asarray(column.to_pylist(), np.str_)
    try:
        return np.asarray(column.cast(pa.int64()).to_numpy())
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{path}: {name} has a value that is no 64-bit integer ({error}); expected such, or texts"
        ) from None


def _zones(path: Path, table: pa.Table) -> NDArray:
    if "time_zone" not in table.column_names:
        return np.full(len(table), "")
    column = (
        table["time_zone"].cast(pa.string()) if pa.types.is_dictionary(table["time_zone"].type) else table["time_zone"]
    )
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_null(column.type)):
        raise DataError(f"{path}: time_zone holds {column.type}, expected names such as Europe/Berlin")
    return np.asarray(["" if zone is None else zone for zone in column.to_pylist()], np.str_)


def _opted_out(path: Path, table: pa.Table) -> NDArray[np.bool_]:
    if "opted_out" not in table.column_names:
        return np.zeros(len(table), bool)
    column = table["opted_out"]
    if not (pa.types.is_boolean(column.type) or pa.types.is_integer(column.type)) or column.null_count:
        raise DataError(
            f"{path}: opted_out holds {column.type} and {column.null_count:,} nulls, expected true or false"
        )
    return np.asarray(column.cast(pa.int64()).to_numpy() != 0)


def _feature(path: Path, table: pa.Table, name: str) -> NDArray[np.float64]:
    kind = table[name].type
    if not (is_number(kind) or pa.types.is_boolean(kind)):
        raise DataError(f"{path}: the gate reads numbers of {name}, which holds {kind}")
    values = floats_of(table[name])
    if (bad := ~np.isfinite(values)).any():
        raise DataError(f"{path}: {name} is no finite number in {bad.sum():,} rows; fill them up")
    return values
