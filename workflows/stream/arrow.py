"""Events as Arrow rows and back, the same to the byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from runtime.stream.events import FORGET, ITEM, KINDS, Events
from runtime.stream.log.reader import Batch

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["schema_of", "to_batch", "to_rows"]


def schema_of(user: NDArray, item: NDArray) -> pa.Schema:
    """The columns of a file of events.

    user_id is null in events of items, item_id in those that forget a user; label, event_id and extra where there are
    none.

    Args:
        user: ids, for their type: int64, or objects of bytes.
        item: the same.
    """
    import pyarrow as pa

    def id_type(ids: NDArray) -> pa.DataType:
        return pa.string() if ids.dtype.kind == "O" else pa.int64()

    instant, text = pa.timestamp("ns", "UTC"), pa.string()
    types = {"user_id": id_type(user), "item_id": id_type(item), "at": instant, "label": text, "value": pa.float32()}
    types |= {"event_id": text, "kind": text, "extra": text, "offset": pa.int64(), "received_at": instant}
    return pa.schema(list(types.items()))


def to_rows(batch: Batch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch as rows of a file with this schema."""
    import pyarrow as pa

    events = batch.events
    columns = [
        _texts_or_numbers(events.user, events.kind == ITEM),
        _texts_or_numbers(events.item, events.kind == FORGET),
        pa.array(events.at).cast(schema.field("at").type),
        _named(events.label, events.labels),
        pa.array(events.value),
        _texts_or_numbers(events.event_id, events.event_id == b""),
        _named(events.kind, KINDS),
        _texts_or_numbers(events.extra, events.extra == b""),
        pa.array(batch.offsets),
        pa.array(batch.received_at).cast(schema.field("received_at").type),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def to_batch(rows: pa.RecordBatch) -> Batch:
    """Rows of a file as a batch; at least one, label and kind as dictionaries."""
    label, labels = _places(rows["label"])
    kind, kinds = _places(rows["kind"])
    offsets = _numbers(rows["offset"])
    events = Events(
        kind=np.array([0, *map(KINDS.index, kinds[1:])], np.uint8)[kind],
        user=_texts(rows["user_id"]),
        item=_texts(rows["item_id"]),
        at=_numbers(rows["at"]),
        label=label.astype(np.uint8),
        value=rows["value"].to_numpy(zero_copy_only=False),
        event_id=_texts(rows["event_id"]),
        extra=_texts(rows["extra"]),
        labels=labels,
    )
    return Batch(events, offsets, _numbers(rows["received_at"]), int(offsets[-1]) + 1)


def _texts_or_numbers(values: NDArray, is_null: NDArray[np.bool_]) -> pa.Array:
    """A column; null where it says nothing."""
    import pyarrow as pa

    if values.dtype.kind != "O":
        return pa.array(values, mask=is_null & (values == 0))
    return pa.array(values, pa.binary(), mask=is_null & (values == b"")).cast(pa.string())


def _named(places: NDArray[np.uint8], names: tuple[str, ...]) -> pa.Array:
    """Names by their places; "" is null."""
    import pyarrow as pa

    named = pa.array([name or None for name in names], pa.string())
    return named.take(pa.array(places))


def _places(column: Any) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """A dictionary column as places among names; null is "", which comes first."""
    names = ("", *column.dictionary.to_pylist())
    return column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64) + 1, names


def _texts(column: Any) -> NDArray:
    """Ids or texts of a column; null is 0 or b""."""
    import pyarrow as pa

    if column.type == pa.int64():
        return _numbers(column.fill_null(0))
    texts: NDArray = column.cast(pa.binary()).fill_null(b"").to_numpy(zero_copy_only=False)
    return texts


def _numbers(column: Any) -> NDArray[np.int64]:
    import pyarrow as pa

    numbers: NDArray[np.int64] = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    return numbers
