"""The tables of data/ as NVTabular reads them: in pieces, each column in one of three types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflows.core.errors import ConfigError, DataError
from workflows.features.config import FeatureSpec

__all__ = ["Column", "Kept", "Piece", "canonical", "coded", "pieces", "read_piece", "resolve", "to_frame", "to_series"]

ROWS_PER_PIECE = {"cpu": 500_000, "gpu": 4_000_000}
TEXT = pa.dictionary(pa.int32(), pa.string())
ARROW = {"int64": pa.int64(), "string": pa.string(), "float64": pa.float64()}
# Up to here a float type holds every whole number.
WHOLE_UP_TO = {"halffloat": 2**11, "float": 2**24, "double": 2**53}


class Piece(msgspec.Struct, frozen=True):
    """Consecutive row groups of one file; `offset` is the row of the whole table that the piece starts with."""

    path: Path
    row_groups: list[int]
    offset: int
    num_rows: int


class Column(msgspec.Struct, frozen=True):
    """A raw column, how it becomes a feature and the type it is read as (of the elements, for a list).

    Attributes:
        name: of the feature (`workflows.features.schema.input_name`), and of the canonical column.
        spec: how it becomes a feature.
        dtype: canonical: what the workflow reads.
        is_list: whether it holds lists.
        given: the type of its values in the table, and so in a request; the canonical one where it is not set.
        raw: its name in the table, and so in a request; `name` where it is not set.
    """

    name: str
    spec: FeatureSpec
    dtype: Literal["int64", "string", "float64"]
    is_list: bool = False
    given: Literal["int64", "string", "float64", "float32"] | None = None
    raw: str = ""

    @property
    def column(self) -> str:
        """The user's name of it."""
        return self.raw or self.name

    @property
    def boundaries(self) -> list[float]:
        """The cuts as the column's values are: 0.7 in single precision is less than 0.7, and means it."""
        cuts = self.spec.boundaries
        return [float(np.float32(cut)) for cut in cuts] if self.given == "float32" else list(cuts)


def pieces(source: Path, device: Literal["cpu", "gpu"], num_partitions: int = 0) -> list[Piece]:
    """Cut a Parquet file, or the part_*.parquet of a folder, into pieces of whole row groups.

    Args:
        source: the file or folder.
        device: decides how many rows a piece has when num_partitions is 0.
        num_partitions: about how many pieces; a piece is at least one row group.

    Returns:
        Pieces in row order; none of them is empty.
    """
    paths = sorted(source.glob("*.parquet")) if source.is_dir() else [source]
    metas = [pq.read_metadata(path) for path in paths]
    total = sum(meta.num_rows for meta in metas)
    target = -(-total // num_partitions) if num_partitions else ROWS_PER_PIECE[device]
    found: list[Piece] = []
    offset = 0
    for path, meta in zip(paths, metas, strict=True):
        groups: list[int] = []
        rows = 0
        for group in range(meta.num_row_groups):
            groups.append(group)
            rows += meta.row_group(group).num_rows
            if rows >= target or (group == meta.num_row_groups - 1 and rows):
                found.append(Piece(path, groups, offset, rows))
                offset, groups, rows = offset + rows, [], 0
    return found


class Kept:
    """Something by number that is made once, as long as all of it fits a budget; what does not fit is made again.

    Args:
        make: number -> an Arrow table or a frame.
        size_bytes: of what was made.
        budget_bytes: for all that is kept.
    """

    def __init__(self, make: Callable[[int], Any], size_bytes: Callable[[Any], int], budget_bytes: int) -> None:
        self._make, self._size_bytes, self._room_bytes = make, size_bytes, budget_bytes
        self._kept: dict[int, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without what is kept: Dask pickles this once a task graph, to name its tasks."""
        return self.__dict__ | {"_kept": {}}

    def __call__(self, number: int) -> Any:
        """What belongs to the number."""
        if number in self._kept:
            return self._kept[number]
        made = self._make(number)
        if (size := self._size_bytes(made)) <= self._room_bytes:
            self._kept[number], self._room_bytes = made, self._room_bytes - size
        return made


def read_piece(piece: Piece, columns: Sequence[str], texts: Sequence[str] = ()) -> pa.Table:
    """The rows of a piece, with the given columns in the given order; those of `texts` as dictionaries."""
    with pq.ParquetFile(piece.path, read_dictionary=list(texts)) as file:
        return file.read_row_groups(piece.row_groups, columns=list(columns)).select(list(columns))


def resolve(
    schema: pa.Schema, column: str, spec: FeatureSpec, *, table: str, usable: Sequence[str], name: str = ""
) -> Column:
    """Find a feature's column and check that its type fits the kind.

    Args:
        schema: of the table.
        column: its name there.
        spec: how it becomes a feature.
        table: "users", "items" or "context", for the messages.
        usable: columns that a feature may come from.
        name: of the feature; the column's when empty.

    Raises:
        ConfigError: the table has no such column.
        DataError: its type does not fit the kind.
    """
    if column not in usable:
        hint = "add it to data.context if the events have it" if table == "context" else "correct the name"
        if near := [name for name in usable if name.lower() == column.lower()]:
            hint += f" ({near[0]!r} is there; in a table that has both, rename one)"
        have = ", ".join(usable) or "none"
        raise ConfigError(f"features.{table}.{column}: there is no column {column!r} ({table} columns: {have}); {hint}")
    kind = schema.field(column).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    element = _plain(kind.value_type if is_list else kind)
    text = pa.types.is_string(element) or pa.types.is_large_string(element) or pa.types.is_null(element)
    whole = pa.types.is_integer(element) or pa.types.is_boolean(element)
    number = whole or pa.types.is_floating(element) or pa.types.is_decimal(element) or pa.types.is_null(element)
    if spec.kind == "list" and ((is_list and (text or whole)) or text):
        return Column(name or column, spec, "string" if text else "int64", is_list, raw=column)
    if not is_list and spec.kind in ("continuous", "bucketised") and number:
        return Column(name or column, spec, "float64", given=_number_type(element), raw=column)
    if not is_list and spec.kind in ("categorical", "hashed") and (text or number):
        return Column(name or column, spec, "string" if text else "int64", raw=column)
    raise DataError(
        f"features.{table}.{column}: kind {spec.kind!r} does not fit column {column!r} of type {kind}; "
        f"a column of this type can be {_fitting(is_list, text, number)}"
    )


def _number_type(element: pa.DataType) -> Literal["int64", "float64", "float32"]:
    if pa.types.is_integer(element) or pa.types.is_boolean(element):
        return "int64"
    return "float32" if pa.types.is_float32(element) or pa.types.is_float16(element) else "float64"


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _fitting(is_list: bool, text: bool, number: bool) -> str:
    if text:
        return "'list'" if is_list else "'categorical', 'hashed' or 'list' (separated strings)"
    if number:
        return "'list' where it holds integers" if is_list else "'categorical', 'hashed', 'continuous' or 'bucketised'"
    return "no feature: convert it to numbers or strings first"


def canonical(values: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    """Cast a raw column to its type, strings as dictionaries; NaN and infinite values become null.

    Raises:
        DataError: fractions in an integer column, integers beyond 64 bits or beyond what the column's floats tell
            apart, or strings with a null byte.
    """
    if column.dtype == "string" and not column.is_list:
        texts = values.cast(TEXT) if pa.types.is_dictionary(values.type) else values.cast(pa.string())
        coded = texts.dictionary_encode()
        for chunk in coded.chunks:
            _refuse_null_bytes(chunk.dictionary, column)
        return coded
    if pa.types.is_dictionary(values.type):
        values = pc.cast(values, values.type.value_type)
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_finite(values), values, pa.scalar(None, values.type))
        if column.dtype == "int64":
            _refuse_rounded(values, column)
    if pa.types.is_decimal(values.type) and column.dtype == "float64":
        values = pc.cast(values, pa.string())  # Arrow's own cast misses the nearest float for one value in five
    target = ARROW[column.dtype]
    # A whole number above 2^53 is rounded as the server rounds it.
    safe = not (pa.types.is_integer(values.type) and column.dtype == "float64")
    try:
        cast = pc.cast(values, pa.list_(target) if column.is_list else target, safe=safe)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"column {column.column!r} cannot be read as {column.dtype} for kind {column.spec.kind!r} ({error}); "
            "use kind 'continuous' or 'bucketised' for fractions, or write them as text"
        ) from None
    if column.dtype == "string":
        _refuse_null_bytes(pc.list_flatten(cast), column)
    return cast


def _refuse_rounded(values: pa.ChunkedArray, column: Column) -> None:
    """Codes in a column of floats that may have been others before they were written there."""
    largest = WHOLE_UP_TO[str(values.type)]
    beyond = pc.filter(values, pc.greater(pc.abs(values), pa.scalar(largest, values.type)))
    if len(beyond):
        raise DataError(
            f"column {column.column!r} holds {len(beyond):,} values such as {beyond[0].as_py():.0f} as {values.type}, "
            f"which cannot tell whole numbers above {largest:,} apart; write the column as integers or text"
        )


def _refuse_null_bytes(texts: pa.Array | pa.ChunkedArray, column: Column) -> None:
    if pc.any(pc.match_substring(texts, "\0")).as_py():
        # pandas compares strings up to the first null byte: two of them would share a code.
        raise DataError(f"column {column.column!r} holds strings with a null byte; remove the byte or the rows")


def coded(table: pa.Table, columns: Sequence[Column]) -> pa.Table:
    """The same table, integers as dictionaries too: each value is hashed once, to be counted and to be encoded."""
    names = [c.name for c in columns if c.dtype == "int64" and not c.is_list]
    for name in names:
        table = table.set_column(table.column_names.index(name), name, table[name].dictionary_encode())
    return table


def to_frame(table: pa.Table, device: Literal["cpu", "gpu"], *, numbers_only: bool = False) -> Any:
    """A pandas frame on CPU (integers nullable, so that none passes through a float), a cuDF frame on GPU.

    Args:
        table: canonical columns.
        device: decides which.
        numbers_only: nothing but its numbers will be read: the rest stays in Arrow on a CPU, without a copy.
    """
    columns = {name: table[name] for name in table.column_names}
    if device == "gpu" or not numbers_only:
        columns = {n: v.cast(v.type.value_type) if pa.types.is_dictionary(v.type) else v for n, v in columns.items()}
    if device == "gpu":
        import cudf

        return cudf.DataFrame.from_arrow(pa.table(columns))
    import pandas as pd

    as_is = {name for name, values in columns.items() if numbers_only and not pa.types.is_floating(values.type)}
    series = {
        name: pd.Series(pd.arrays.ArrowExtensionArray(values)) if name in as_is else to_series(values)
        for name, values in columns.items()
    }
    return pd.DataFrame(series, copy=False)


def to_series(values: pa.Array | pa.ChunkedArray) -> Any:
    """A canonical column as a pandas series: Int64, float64 with NaN, or objects (str, lists, None)."""
    import pandas as pd

    if pa.types.is_integer(values.type):
        mask = _numpy(pc.is_null(values)).astype(bool)
        return pd.Series(pd.arrays.IntegerArray(_numpy(pc.fill_null(values, 0)).astype(np.int64), mask))
    if pa.types.is_floating(values.type):
        return pd.Series(_numpy(values))
    if pa.types.is_string(values.type):
        return pd.Series(_numpy(values), dtype=object)
    lists = values.to_pylist()
    # NVTabular looks for the type of the first element while it fits: where there is none, the lists go in as nulls.
    return pd.Series(lists if any(lists) else [None] * len(lists), dtype=object)


def _numpy(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    if isinstance(values, pa.ChunkedArray):
        return np.asarray(values.to_numpy())
    return np.asarray(values.to_numpy(zero_copy_only=False))
