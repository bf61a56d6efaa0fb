"""Records of the log as a table: one row a request and user, see `operations.log.schema` for its columns."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from operations.log.schema import CONTEXT, NAME, TYPES, schema_of
from runtime.ids import NO_ITEM
from runtime.log.record import HASH, REASONS, Record
from runtime.log.rows import LIVE_AT, LIVE_RECENT
from runtime.stream.live import AWAY

__all__ = ["Logged", "table_of"]


@dataclass(frozen=True)
class Logged:
    """A whole request of the log.

    Attributes:
        record: with its answer.
        header: of the segment that it is from.
        env_id: of the environment that answered.
        at: when it was answered, nanoseconds since 1970, by the clock with which its segment began.
        is_corrected: whether the clock has jumped since.
        service_us: how long the server had it.
        attempt: 1, or more where the same id has come before.
    """

    record: Record
    header: Mapping[str, Any]
    env_id: str
    at: int
    is_corrected: bool
    service_us: int
    attempt: int = 1

    @property
    def num_users(self) -> int:
        """Rows of it; a refused request has one."""
        return len(self.record.arrays.get("user_row", (0,)))


def table_of(logged: Sequence[Logged]) -> pa.Table:
    """The rows of requests that one version of a chain answered.

    Args:
        logged: at least one, with headers that name the same context columns.
    """
    columns = _Columns(logged)
    header, records = logged[0].header, [each.record for each in logged]
    # Where text of the context is none, the request cannot be asked again.
    is_exact = np.array([_is_exact(each) for each in logged]).repeat(columns.counts)
    context = {}
    for name, dtype in header["context"]:
        context[CONTEXT + name] = _context(columns, records, CONTEXT + name, dtype, is_exact)
    positions = np.concatenate([np.arange(count) for count in columns.counts])
    table: dict[str, pa.Array] = {
        "request_id": columns.texts((each.request_id for each in records), pa.string()),
        "position": pa.array(positions, pa.int16()),
        "slate_key": _slate_keys(logged, columns.counts),
        "key": columns.numbers((each.key for each in records), np.uint64),
        "at": pa.array(columns.array((each.at for each in logged), np.int64), pa.timestamp("ns", "UTC")),
        "at_corrected": pa.array(columns.array((each.is_corrected for each in logged), bool)),
        "chain_key": columns.texts((each.header["chain_key"] for each in logged), NAME),
        "model_version": columns.numbers((each.header["model_version"] for each in logged), np.int32),
        "layout": columns.texts((each.header["layout"] for each in logged), NAME),
        "consumer": columns.texts((each.consumer for each in records), NAME),
        "traceparent": columns.texts((each.trace or None for each in records), pa.string()),
        "attempt": columns.numbers((min(each.attempt, 127) for each in logged), np.int8),
        "user_key": columns.keys(records),
        "salt_id": columns.texts((each.header["salt_id"] for each in logged), NAME),
        "user_row": pc.max_element_wise(columns.of_users(records, "user_row", pa.int32()), NO_ITEM, skip_nulls=False),
        "recent": columns.lists(records, "recent", pa.int32()),
        "excluded": columns.lists(records, "exclude", pa.int32()),
        "slate_size": columns.of_users(records, "slate_size", pa.int32()),
        **context,
        "item_rows": columns.items(records, "item_rows", pa.int32()),
        "scores": columns.items(records, "score", pa.float32()),
        "num_items": columns.of_users(records, "num_items", pa.int32()),
        "path": columns.paths(records),
        "service_us": columns.numbers((each.service_us for each in logged), np.uint32),
        "batch": columns.numbers((each.batch for each in records), np.uint16),
        "error": columns.texts((each.error or None for each in records), pa.string()),
        "weight": columns.numbers((_weight(each) for each in logged), np.float32),
        "reason": columns.texts((REASONS[each.reason] for each in records), NAME),
        "replayable": pa.array(is_exact),
        "env_id": columns.texts((each.env_id for each in logged), NAME),
    }
    if header["is_live"]:
        table |= {n: columns.of_users(records, n, pa.int64()) for n in ("stream_offset", "state_age_ms", LIVE_AT)}
        table[LIVE_RECENT] = columns.lists(records, LIVE_RECENT, pa.int64())
    return pa.table(table, schema_of(header["context"], is_live=header["is_live"]))


@dataclass(frozen=True)
class _Columns:
    """Values of requests or users as columns of rows.

    Attributes:
        logged: the requests.
        counts: int64 [n], rows of each.
    """

    logged: Sequence[Logged]
    counts: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", np.array([each.num_users for each in self.logged], np.int64))

    def array(self, values: Iterable[Any], dtype: Any) -> NDArray:
        """Values of requests [n] -> rows."""
        return np.array(list(values), dtype).repeat(self.counts)

    def numbers(self, values: Iterable[Any], dtype: Any) -> pa.Array:
        """The same as a column."""
        return pa.array(self.array(values, dtype))

    def texts(self, values: Iterable[str | None], kind: pa.DataType) -> pa.Array:
        """Texts of requests as a column."""
        return (
            pa.array(list(values), pa.string())
            .take(pa.array(np.arange(len(self.counts)).repeat(self.counts)))
            .cast(kind)
        )

    def of_users(self, records: Sequence[Record], name: str, kind: pa.DataType) -> pa.Array:
        """An array [B] of each record; of a record without it nulls."""
        parts = [
            pa.array(record.arrays[name], kind) if name in record.arrays else pa.nulls(int(count), kind)
            for record, count in zip(records, self.counts, strict=True)
        ]
        return pa.concat_arrays(parts)

    def keys(self, records: Sequence[Record]) -> pa.Array:
        """The keys of users."""
        values: list[bytes | None] = []
        for record, count in zip(records, self.counts.tolist(), strict=True):
            keys = record.arrays.get("user_key")
            values += [None] * count if keys is None else [key.tobytes() for key in keys]
        return pa.array(values, pa.binary(16))

    def lists(self, records: Sequence[Record], name: str, kind: pa.DataType) -> pa.Array:
        """An array [B, W] of each record as lists without padding."""
        # Names of recent items are padded where their rows are.
        return self._lists(
            records, name, kind, lambda arrays: arrays["recent" if name == LIVE_RECENT else name] != NO_ITEM
        )

    def items(self, records: Sequence[Record], name: str, kind: pa.DataType) -> pa.Array:
        """What was answered, [B, S], as lists of the items that there were."""
        return self._lists(
            records, name, kind, lambda arrays: np.arange(arrays[name].shape[1]) < arrays["num_items"][:, None]
        )

    def _lists(self, records: Sequence[Record], name: str, kind: pa.DataType, kept: Any) -> pa.Array:
        values, lengths, is_null = [], [], []
        for record, count in zip(records, self.counts.tolist(), strict=True):
            array = record.arrays.get(name)
            is_null.append(np.full(count, array is None))
            if array is None:
                lengths.append(np.zeros(count, np.int64))
                continue
            mask = kept(record.arrays)
            values.append(array[mask])
            lengths.append(mask.sum(axis=1))
        ends = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int32)
        joined = pa.array(np.concatenate(values) if values else np.zeros(0), kind)
        return pa.ListArray.from_arrays(pa.array(ends), joined, mask=pa.array(np.concatenate(is_null)))

    def paths(self, records: Sequence[Record]) -> pa.Array:
        """What each slate was made from."""
        values: list[str | None] = []
        for record, count in zip(records, self.counts.tolist(), strict=True):
            paths = record.arrays.get("path")
            values += [None] * count if paths is None else [p.decode("utf-8", "replace") for p in paths.tolist()]
        return pa.array(values, pa.string()).cast(NAME)


def _context(
    columns: _Columns, records: Sequence[Record], name: str, dtype: str, is_exact: NDArray[np.bool_]
) -> pa.Array:
    """A context column; text that is no UTF-8 becomes null, and its row inexact in place."""
    values: list[Any] = []
    for record, count in zip(records, columns.counts.tolist(), strict=True):
        found = record.arrays.get(name)
        values += [None] * count if found is None else found.tolist()
    if dtype == "BYTES":
        for place, value in enumerate(values):
            if value is not None:
                try:
                    values[place] = value.decode()
                except UnicodeDecodeError:
                    values[place], is_exact[place] = None, False
    # What is not a number was not given.
    return pa.array([None if value != value else value for value in values], TYPES[dtype])


def _slate_keys(logged: Sequence[Logged], counts: NDArray[np.int64]) -> pa.Array:
    """16 bytes that name a slate: of its request and the user's position in that."""
    keys = [
        hashlib.blake2b(f"{each.record.request_id}\0{position}".encode(), digest_size=16).digest()
        for each, count in zip(logged, counts.tolist(), strict=True)
        for position in range(count)
    ]
    return pa.array(keys, pa.binary(16))


def _is_exact(logged: Logged) -> bool:
    """Whether the answer follows from what is logged and the files of the version."""
    # Of the state of live events only what came of it is here.
    had_state = bool((logged.record.arrays.get("stream_offset", np.array([AWAY])) != AWAY).any())
    return not (logged.record.error or logged.header["dropped"] or had_state)


def _weight(logged: Logged) -> float:
    """How many requests a sampled one stands for; one that is logged for another reason stands for none."""
    return 1.0 / logged.header["share"] if logged.record.reason == HASH else 0.0
