"""The columns of a decision log: Parquet, one row a slate.

    request_id       text, one row each
    user_id          integer or text
    item_ids         list of integers or text, the first slot first
    log_propensity   list of float64, natural log, of each slot given the slots before it; 0 where the slot was certain
    rewards          list of float64, what each slot earned

Instead of log_propensity a log may have `propensity`, the probability itself. What the policy chose from may be given,
for all rows or for some: `candidate_ids`, `candidate_scores` (the utilities that were sampled) and `temperature`. Rows
whose `explored` is false were not drawn, and are left out. Other columns are context.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from workflows.core.errors import DataError

__all__ = ["NAMES", "Lists", "coded", "flat", "ids_in", "numbers_in"]

NAMES = (
    "request_id",
    "user_id",
    "item_ids",
    "log_propensity",
    "propensity",
    "rewards",
    "candidate_ids",
    "candidate_scores",
    "temperature",
    "explored",
)


class Lists:
    """A column of lists: all values in a row, and where each row's begin.

    Args:
        column: of lists.
        values: of all lists in a row; as in the column by default.

    Attributes:
        values: float64, or Arrow ids, then int64 places.
        starts: int64 [N + 1].
        given: bool [N], false where the row has no list.
    """

    def __init__(self, column: pa.Array) -> None:
        self.given = np.asarray(pc.is_valid(column).to_numpy(zero_copy_only=False), bool)
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        self.starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        self.values: Any = pc.list_flatten(column)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Of each row's list, int64 [N]; 0 where there is none."""
        return np.diff(self.starts)

    @property
    def rows(self) -> NDArray[np.int64]:
        """Whose each value is, int64 [values]."""
        return np.repeat(np.arange(len(self.given)), self.lengths)

    def padded(self, fill: Any, width: int) -> NDArray:
        """The first `width` values of each row, [N, width]; `fill` behind the end of a list."""
        rows, place = self.rows, np.arange(len(self.values)) - self.starts[self.rows]
        fits = place < width
        found = np.full((len(self.given), width), fill, np.asarray(self.values).dtype)
        found[rows[fits], place[fits]] = np.asarray(self.values)[fits]
        return found

    def any_of(self, bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Rows with a value that is bad, bool [N]."""
        counts = np.concatenate([np.zeros(1, np.int64), np.cumsum(bad)])
        return np.asarray(counts[self.starts[1:]] > counts[self.starts[:-1]], bool)


def numbers_in(table: pa.Table, name: str) -> Lists:
    """A column of lists of numbers, as float64, NaN for null; without a list in any row where there is no such column.

    Raises:
        DataError: it is another type.
    """
    found = _lists(table, name, pa.float64())
    found.values = np.asarray(pc.fill_null(found.values, float("nan")).to_numpy(zero_copy_only=False), np.float64)
    return found


def ids_in(table: pa.Table, name: str) -> Lists:
    """A column of lists of ids, integers or text; without a list in any row where there is no such column.

    Raises:
        DataError: it is another type.
    """
    return _lists(table, name, None)


def flat(table: pa.Table, name: str) -> pa.Array:
    """A column of ids, one a row, as int64 or text.

    Raises:
        DataError: it is another type.
    """
    column = table[name].combine_chunks()
    array = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
    wanted = _id_type(array.type)
    if wanted is None:
        raise DataError(f"column {name} is {array.type}; expected integers or text")
    return array.cast(wanted)


def coded(*arrays: pa.Array) -> tuple[NDArray, list[NDArray[np.int64]]]:
    """Distinct ids of several arrays, ascending, and the place of each value among them; -1: null.

    Raises:
        DataError: some are integers and others text.
    """
    kinds = {array.type for array in arrays if len(array)}
    if len(kinds) > 1:
        named = " and ".join(sorted(map(str, kinds)))
        raise DataError(f"ids of one kind are {named}; expected integers in all columns, or text in all")
    wanted = next(iter(kinds), pa.int64())
    arrays = tuple(array if len(array) else pa.array([], wanted) for array in arrays)
    distinct = pc.unique(pa.concat_arrays(arrays)).drop_null()
    distinct = distinct.take(pc.sort_indices(distinct))
    places = [pc.fill_null(pc.index_in(array, value_set=distinct), -1) for array in arrays]
    ids: NDArray = distinct.to_numpy(zero_copy_only=False)
    return ids, [place.to_numpy(zero_copy_only=False).astype(np.int64) for place in places]


def _lists(table: pa.Table, name: str, wanted: pa.DataType | None) -> Lists:
    """A column of lists whose values are cast to `wanted`, or to the type of ids."""
    if name not in table.column_names or pa.types.is_null(table[name].type):
        return Lists(pa.nulls(table.num_rows, pa.list_(wanted or pa.int64())))
    column = table[name].combine_chunks()
    array = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
    of = array.type.value_type if hasattr(array.type, "value_type") and not pa.types.is_dictionary(array.type) else None
    if of is not None and pa.types.is_null(of):  # empty lists alone
        of = wanted or pa.int64()
    found = None if of is None else _id_type(of) if wanted is None else wanted if _is_number(of) else None
    if found is None:
        what = "integers or text" if wanted is None else "numbers"
        raise DataError(f"column {name} is {array.type}; expected a list of {what} in each row")
    return Lists(array.cast(pa.list_(found)))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _id_type(kind: pa.DataType) -> pa.DataType | None:
    """The type that ids of this type are read as; None: they are no ids."""
    if pa.types.is_dictionary(kind):
        return _id_type(kind.value_type)
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.string()
    return None
