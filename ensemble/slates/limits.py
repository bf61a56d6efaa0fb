"""Units of items, by warehouse, and which warehouse delivers to whom: what `cascade slates allot` keeps to."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from workflows.core import console
from workflows.core.errors import ConfigError, DataError

__all__ = ["UNLIMITED", "Limits", "read_limits"]

UNLIMITED = 2**62
ITEM, UNITS = "item_id", "units"


class Limits(NamedTuple):
    """How many slates may show an item.

    Attributes:
        left: int64 [W, N], of each warehouse; UNLIMITED for items that have no line.
        warehouses: int32 [U], of each user; W for a user of none, who is shown no limited item.
    """

    left: NDArray[np.int64]
    warehouses: NDArray[np.int32]


def read_limits(
    path: Path, item_ids: NDArray, num_users: int, users: Path, column: str, shows_per_unit: float
) -> Limits:
    """Read the units.

    Args:
        path: Parquet or CSV with item_id, units and, where `column` is given, a column of that name.
        item_ids: raw ids by item row, int64 or bytes, ascending.
        num_users: U.
        users: the users table of a run, in the order of its ids; read where `column` is given.
        column: of the users, and of the file: the warehouse; empty: there is one for all.
        shows_per_unit: slates that may show one unit.

    Raises:
        DataError: the file cannot be read, or a line of it cannot be used.
        ConfigError: the users have no such column, or an option has no such value.
    """
    if not np.isfinite(shows_per_unit):
        raise ConfigError(f"--shows-per-unit must be a finite number, got {shows_per_unit}")
    if column in (ITEM, UNITS):
        raise ConfigError(f"--warehouse {column} is the column of {column} itself; name the one of the warehouse")
    table = _table(path, [ITEM, UNITS, *([column] if column else [])])
    units = _units(path, table[UNITS])
    rows = _rows(path, table[ITEM], item_ids)
    names, of_lines = ["all"], np.zeros(len(table), np.int64)
    of_users = np.zeros(num_users, np.int32)
    if column:
        names, of_lines = _names(path, table[column], column)
        of_users = _of_users(users, column, names)
    known = rows >= 0
    if len(known) and not known.any():
        raise DataError(f"--units {path}: the run knows none of its {len(known):,} items, so that nothing is limited")
    if not known.all():
        console.say(f"slates allot: {int((~known).sum()):,} lines of {path} are of items that the run does not know")
    place = of_lines[known] * len(item_ids) + rows[known]
    if len(np.unique(place)) < len(place):
        twice = table[ITEM].to_pylist()[int(np.flatnonzero(known)[_first_repeated(place)])]
        raise DataError(
            f"{path} has more than one line of item {twice!r}{' in one ' + column if column else ''}; add them up"
        )
    left = np.full((len(names), len(item_ids)), UNLIMITED, np.int64)
    left[:, np.unique(rows[known])] = 0  # a warehouse without a line of an item that others have has none of it
    with np.errstate(over="ignore"):  # more than there are users is no limit
        shows = np.minimum(np.floor(units[known] * shows_per_unit + 1e-9), float(UNLIMITED))
    left.reshape(-1)[place] = shows.astype(np.int64)
    return Limits(left, of_users)


def _table(path: Path, wanted: list[str]) -> pa.Table:
    try:
        table = pyarrow.csv.read_csv(path) if path.suffix.lower() == ".csv" else pq.read_table(path)
        names = table.column_names
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(
            f"--units {path} cannot be read as {'CSV' if path.suffix.lower() == '.csv' else 'Parquet'}: {error}"
        ) from None
    if twice := sorted(name for name in set(wanted) if names.count(name) > 1):
        raise DataError(f"--units {path} has more than one column {', '.join(twice)}; leave one of each")
    if missing := [name for name in wanted if name not in names]:
        raise DataError(f"--units {path} has the columns {', '.join(names)}, and lacks {', '.join(missing)}")
    return table.select(wanted)


def _units(path: Path, column: pa.ChunkedArray) -> NDArray[np.float64]:
    try:
        units = np.asarray(pc.cast(column, pa.float64()).to_numpy(), np.float64)
    except pa.ArrowException:
        raise DataError(f"--units {path}: units are {column.type}, expected numbers") from None
    bad = ~(np.isfinite(units) & (units >= 0))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(f"--units {path}: line {row + 1} has {column[row].as_py()} units; expected a number from 0 on")
    return units


def _rows(path: Path, column: pa.ChunkedArray, item_ids: NDArray) -> NDArray[np.int64]:
    """Item rows of raw ids; -1: unknown."""
    is_text = item_ids.dtype.kind == "S"
    try:
        values = pc.cast(column, pa.string() if is_text else pa.int64())
    except pa.ArrowException as error:
        kind = "texts" if is_text else "integers"
        raise DataError(f"--units {path}: item ids must be {kind}, as those of the run are ({error})") from None
    known = pa.array([item.decode() for item in item_ids.tolist()] if is_text else item_ids)
    found = pc.fill_null(pc.index_in(values, known), -1)
    return np.asarray(found.to_numpy(), np.int64)


def _names(path: Path, column: pa.ChunkedArray, name: str) -> tuple[list[str], NDArray[np.int64]]:
    if column.null_count:
        raise DataError(f"--units {path}: {column.null_count:,} lines have no {name}; give each line one")
    coded = _texts(column, f"--units {path}: {name}").combine_chunks().dictionary_encode()
    return coded.dictionary.to_pylist(), np.asarray(coded.indices.to_numpy(), np.int64)


def _of_users(users: Path, name: str, warehouses: list[str]) -> NDArray[np.int32]:
    if not users.is_file():
        raise ConfigError(
            f"--warehouse {name} is a column of the users, and {users} is not there; give the run directory"
        )
    schema = pq.read_schema(users)
    if name not in schema.names:
        raise ConfigError(
            f"--warehouse {name} is no column of the users table; it has {', '.join(sorted(schema.names))}"
        )
    values = _texts(pq.read_table(users, columns=[name])[name], f"--warehouse {name}")
    found = np.asarray(pc.fill_null(pc.index_in(values, pa.array(warehouses)), -1).to_numpy(), np.int32)
    if (found < 0).any():
        count = int((found < 0).sum())
        console.say(f"slates allot: {count:,} users are of no {name} of the file; they are shown no limited item")
    return np.where(found < 0, len(warehouses), found).astype(np.int32)


def _texts(column: pa.ChunkedArray, called: str) -> pa.ChunkedArray:
    try:
        return pc.cast(column, pa.string())
    except pa.ArrowException:
        raise DataError(f"{called} is {column.type}, expected texts or numbers") from None


def _first_repeated(places: NDArray[np.int64]) -> int:
    order = np.argsort(places, kind="stable")
    return int(order[1:][places[order][1:] == places[order][:-1]].min())
