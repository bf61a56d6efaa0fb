"""Arrays of many records as columns of rows, a column at a time: no value of a number passes through Python alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from operations.log.schema import NAME
from runtime.ids import NO_ITEM
from runtime.log.arrays import DTYPES, OBJECT, PackedArray
from runtime.log.folder import KEY_BYTES
from runtime.log.record import Record

__all__ = ["Columns", "users_in"]


@dataclass(frozen=True)
class _Gathered:
    """An array of all records, those that lack it left out.

    Attributes:
        values: of all rows, one after the other; a list where they are objects.
        is_there: bool [rows], which rows have it.
        widths: int64 [rows], values of each; 0 where it is not there.
    """

    values: NDArray | list[Any]
    is_there: NDArray[np.bool_]
    widths: NDArray[np.int64]


def users_in(record: Record) -> int:
    """Rows of a record; a refused request has one."""
    users = record.arrays.get("user_row")
    return 1 if users is None else users.num_users


class Columns:
    """Values of records, or of their users, as columns of rows.

    Args:
        records: in the order of the rows.

    Attributes:
        counts: int64 [n], rows of each.
        position: int64 [rows], of each in its record.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self._arrays = [record.arrays for record in records]
        self.counts: NDArray[np.int64] = np.array([users_in(record) for record in records], np.int64)
        ends = self.counts.cumsum()
        self._of = np.arange(len(records)).repeat(self.counts)
        self.position = np.arange(len(self._of)) - (ends - self.counts)[self._of]

    def array(self, values: Iterable[Any], dtype: Any) -> NDArray:
        """Values of records [n] -> rows."""
        found: NDArray = np.array(list(values), dtype)[self._of]
        return found

    def numbers(self, values: Iterable[Any], dtype: Any) -> pa.Array:
        """The same as a column."""
        return pa.array(self.array(values, dtype))

    def texts(self, values: Iterable[str | None], kind: pa.DataType) -> pa.Array:
        """Texts of records as a column."""
        found = pa.array(list(values), pa.string()).cast(kind)
        return found if len(self._of) == len(found) else found.take(pa.array(self._of))

    def of_users(self, name: str, kind: pa.DataType) -> pa.Array:
        """An array [B] of numbers; of a record without it nulls."""
        found = self._gathered(name)
        values = np.asarray(found.values)
        if found.is_there.all():
            return pa.array(values, kind)
        spread = np.zeros(len(self._of), values.dtype)
        spread[found.is_there] = values
        return pa.array(spread, kind, mask=~found.is_there)

    def objects(self, name: str) -> list[Any]:
        """An array [B] of any kind; of a record without it None."""
        found = self._gathered(name)
        values = found.values if isinstance(found.values, list) else found.values.tolist()
        if found.is_there.all():
            return values
        following = iter(values)
        return [next(following) if there else None for there in found.is_there.tolist()]

    def numbers_or_null(self, name: str, kind: pa.DataType) -> pa.Array:
        """An array [B] of numbers, of which one that is no number, or None, was not given."""
        if any(name in arrays and arrays[name].code == OBJECT for arrays in self._arrays):
            return pa.array([None if value != value else value for value in self.objects(name)], kind)
        column = self.of_users(name, kind)
        return pc.if_else(pc.is_nan(column), None, column) if pa.types.is_floating(kind) else column

    def keys(self, name: str) -> pa.Array:
        """An array uint8 [B, 16] as one column of 16 bytes."""
        found = self._gathered(name)
        spread = np.zeros((len(self._of), KEY_BYTES), np.uint8)
        spread[found.is_there] = np.asarray(found.values, np.uint8).reshape(-1, KEY_BYTES)
        is_there = pa.py_buffer(np.packbits(found.is_there, bitorder="little"))
        return pa.Array.from_buffers(pa.binary(KEY_BYTES), len(spread), [is_there, pa.py_buffer(spread)])

    def lists(self, name: str, kind: pa.DataType, padded: str = "") -> pa.Array:
        """An array [B, W] as lists without padding.

        Args:
            name: of the array.
            kind: of its values.
            padded: the array whose padding counts; this one by default.
        """
        return self._lists(name, kind, lambda found: np.asarray(self._gathered(padded or name).values) != NO_ITEM)

    def items(self, name: str, kind: pa.DataType) -> pa.Array:
        """What was answered, [B, S], as lists of the items that there were."""
        numbers = np.zeros(len(self._of), np.int64)
        counted = self._gathered("num_items")
        numbers[counted.is_there] = np.asarray(counted.values)
        return self._lists(name, kind, lambda found: _places(found.widths) < numbers.repeat(found.widths))

    def dictionary(self, name: str) -> pa.Array:
        """An array [B] of a few texts."""
        values = self.objects(name)
        texts = {each: None if each is None else each.decode("utf-8", "replace") for each in set(values)}
        return pa.array([texts[each] for each in values], pa.string()).cast(NAME)

    def _lists(self, name: str, kind: pa.DataType, keep: Callable[[_Gathered], NDArray[np.bool_]]) -> pa.Array:
        found = self._gathered(name)
        kept = keep(found)
        # How many are kept up to each value, and so up to the end of each row.
        before = np.concatenate([[0], kept.cumsum()])
        ends = before[np.concatenate([[0], found.widths.cumsum()])].astype(np.int32)
        values = pa.array(np.asarray(found.values)[kept], kind)
        return pa.ListArray.from_arrays(pa.array(ends), values, mask=pa.array(~found.is_there))

    def _gathered(self, name: str) -> _Gathered:
        found = [arrays.get(name) for arrays in self._arrays]
        there = [each for each in found if each is not None]
        widths = [0 if each is None else each.width if each.dimensions > 1 else 1 for each in found]
        is_there = np.array([each is not None for each in found])
        return _Gathered(_values(there), is_there[self._of], np.array(widths, np.int64)[self._of])


def _values(arrays: Sequence[PackedArray]) -> NDArray | list[Any]:
    """Their values, one array after the other."""
    codes = {each.code for each in arrays}
    if not codes:
        return np.zeros(0)
    if OBJECT not in codes:
        if len(codes) > 1:
            mixed: NDArray = np.concatenate([each.array().reshape(-1) for each in arrays])
            return mixed
        joined: NDArray = np.frombuffer(b"".join([each.packed for each in arrays]), DTYPES[codes.pop()])
        return joined
    known: dict[bytes, list[Any]] = {}
    values: list[Any] = []
    for each in arrays:
        if each.code != OBJECT:
            values += each.array().reshape(-1).tolist()
            continue
        found = known.get(each.packed)
        if found is None:
            found = known[each.packed] = each.objects()
        values += found
    return values


def _places(widths: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 [sum of widths]: the place of each value in its row."""
    places: NDArray[np.int64] = np.arange(widths.sum()) - (widths.cumsum() - widths).repeat(widths)
    return places
