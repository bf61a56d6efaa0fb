"""The log of live events as the table of events: `data.events` names a folder that `cascade serve` writes to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.stream.events import INTERACTION, Events
from runtime.stream.fold import NEW
from runtime.stream.log.errors import LogError
from runtime.stream.log.reader import Batch, log_id, next_offset
from runtime.stream.log.segments import list_segments
from runtime.stream.spec import STREAM_FILE, StreamSpec
from runtime.stream.state import apply_at
from runtime.stream.store import LmdbStore
from workflows.core import console
from workflows.core.errors import DataError
from workflows.stream.counted import CountedEvents
from workflows.stream.forget import Forgotten, find_orders
from workflows.stream.history import first_event, read_events
from workflows.tables.config import DataConfig
from workflows.tables.source import Source

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["LogSource", "as_table", "counted_file", "find_log"]

# Beside the table: all that windows can count.
COUNTED_FILE = "counted.parquet"
# The name of the times where the config has none.
TIMESTAMP = "at"
INT64 = range(-(2**63), 2**63)


class LogSource(msgspec.Struct, frozen=True):
    """Events of a log.

    Attributes:
        folder: EVENTS.
        log_id: see `runtime.stream.log.reader.log_id`.
        start, stop: the first offset, and the one behind the last.
        dedupe_last: ids that were remembered a user when they came.
    """

    folder: str
    log_id: str
    start: int
    stop: int
    dedupe_last: int


def find_log(spec: str | Sequence[str]) -> LogSource | None:
    """The log that `data.events` names; None where it names files.

    Raises:
        DataError: the log is empty, cannot be read, or is named beside other tables.
    """
    named = [spec] if isinstance(spec, str) else list(spec)
    logs = [path for path in named if "://" not in path and is_log(Path(path))]
    if not logs:
        return None
    if len(named) > 1:
        raise DataError(f"events: {logs[0]} is a log of live events, got it beside other tables; name it alone")
    folder = Path(logs[0])
    try:
        if not list_segments(folder) or not (stop := next_offset(folder)):
            raise DataError(f"events: {folder} is a log of live events and has none yet; send some first")
        dedupe_last = StreamSpec.load(folder).dedupe_last
        return LogSource(str(folder.resolve()), log_id(folder), first_event(folder), stop, dedupe_last)
    except (LogError, ValueError) as error:
        raise DataError(f"events: {error}") from error
    except FileNotFoundError as error:
        raise DataError(
            f"events: {folder} is a log of live events without its {STREAM_FILE}; start its server once"
        ) from error


def is_log(folder: Path) -> bool:
    """Whether a folder is one of live events; a folder of tables may well have logs of something else in it."""
    segments = (folder / "log").glob("[0-9]*.log")
    return (folder / STREAM_FILE).is_file() or any(path.stem.isdecimal() and len(path.stem) == 20 for path in segments)


def as_table(log: LogSource, data: DataConfig, scratch: Path, *, counted: bool = False) -> tuple[Source, DataConfig]:
    """Write the interactions of a log as a table of events.

    A row is an event of the kind `interaction` with one of data.labels: 1 in the column of its label where its value
    is above 0, else 0; context columns, position and propensity are fields of its `extra`. Left out is what the live
    state left out as known already, by the same fold, and what forgotten users did.

    Args:
        log: what to read.
        data: how the columns are called.
        scratch: a folder for the table and for the fold.
        counted: also write, beside it, all events that windows of stream features can count.

    Returns:
        The table, and the config under which it is read.

    Raises:
        DataError: it cannot be read, or holds no interaction.
    """
    fields = [name for name in (*data.context, data.position, data.propensity) if name]
    timestamp = data.timestamp or TIMESTAMP
    path = scratch / "events.parquet"
    try:
        forgotten = find_orders(Path(log.folder), log.start, log.stop)
        kinds = _kinds_of(log, fields) if fields else {}
        counts = _write(path, log, data, timestamp, forgotten, kinds, scratch, counted=counted)
    except LogError as error:
        raise DataError(f"events: {error}") from error
    read, taken, twice = counts
    console.say(
        f"data: {read:,} events of the log up to offset {log.stop}: {taken:,} interactions, {twice:,} that came twice"
    )
    if not taken:
        raise DataError(
            f"events: {log.folder} must hold interactions with one of the labels {', '.join(data.labels) or 'sent'}, "
            f"got none in {read:,} events; correct data.labels"
        )
    names = [*data.labels]
    return Source("events", [str(path)], "Parquet"), msgspec.structs.replace(data, labels=names, timestamp=timestamp)


def counted_file(events: Mapping[str, Source]) -> Path:
    """Where `as_table` wrote all that windows can count, by the table that it gave."""
    (source,) = events.values()
    return Path(source.files[0]).with_name(COUNTED_FILE)


def _write(
    path: Path,
    log: LogSource,
    data: DataConfig,
    timestamp: str,
    forgotten: Forgotten | None,
    kinds: dict[str, pa.DataType],
    scratch: Path,
    *,
    counted: bool,
) -> tuple[int, int, int]:
    """Write the table; how many events were read, taken, and known already."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file, read, taken, twice = None, 0, 0, 0
    beside = CountedEvents(path.with_name(COUNTED_FILE)) if counted else None
    try:
        for batch, is_new in _folded(log, scratch):
            known = is_new if forgotten is None else is_new & ~forgotten.rows(batch.events, batch.offsets)
            kept = known & _counts(batch.events, list(data.labels))
            if beside is not None:
                beside.write(batch, known)
            read, taken, twice = read + len(is_new), taken + int(kept.sum()), twice + int((~is_new).sum())
            rows = pa.table(_columns(batch, kept, data, timestamp, kinds))
            file = file or pq.ParquetWriter(path, rows.schema)
            file.write_table(rows)
    finally:
        if file is not None:
            file.close()
        if beside is not None:
            beside.close()
    return read, taken, twice


def _folded(log: LogSource, scratch: Path) -> Iterator[tuple[Batch, NDArray[np.bool_]]]:
    """The events of a log, and whether each is new to its user's record."""
    store = LmdbStore(scratch / "fold", writable=True)
    spec = None
    try:
        for batch in read_events(Path(log.folder), log.start, log.stop):
            spec = spec or _light_spec(log, batch.events)
            status = apply_at(store, spec, batch.events, batch.offsets, batch.next_offset)
            yield batch, status == NEW
    finally:
        store.close()


def _light_spec(log: LogSource, events: Events) -> StreamSpec:
    """A record that remembers ids as the live one does, and next to nothing else."""
    user, item = ("BYTES" if ids.dtype.kind == "O" else "INT64" for ids in (events.user, events.item))
    return StreamSpec(user, item, labels=events.labels, history_length=1, dedupe_last=log.dedupe_last)


def _counts(events: Events, labels: list[str]) -> NDArray[np.bool_]:
    """Whether an event is a row; without labels every interaction is a positive."""
    counts: NDArray[np.bool_] = events.has_label(labels) if labels else events.value > 0
    counts &= events.kind == INTERACTION
    return counts


def _columns(
    batch: Batch, kept: NDArray[np.bool_], data: DataConfig, timestamp: str, kinds: dict[str, pa.DataType]
) -> dict[str, Any]:
    import pyarrow as pa

    from workflows.stream.arrow import schema_of, to_rows

    events = batch.events.take(kept)
    rows = to_rows(
        Batch(events, batch.offsets[kept], batch.received_at[kept], batch.next_offset),
        schema_of(events.user, events.item),
    )
    columns = {data.user_id: rows["user_id"], data.item_id: rows["item_id"], timestamp: rows["at"]}
    for label in data.labels:
        columns[label] = pa.array((events.has_label([label]) & (events.value > 0)).astype(np.int8))
    extra = [json.loads(text) if text else {} for text in events.extra.tolist()] if kinds else []
    for name, kind in kinds.items():
        values = [fields.get(name) for fields in extra]
        columns[name] = pa.array([_text(value) for value in values] if kind == pa.string() else values, kind)
    return columns


def _kinds_of(log: LogSource, fields: list[str]) -> dict[str, pa.DataType]:
    """The types of fields of `extra`: what all of their values are, else text; of one that none has, the server's."""
    import pyarrow as pa

    found: dict[str, set[type]] = {name: set() for name in fields}
    for batch in read_events(Path(log.folder), log.start, log.stop):
        for text in batch.events.extra[batch.events.extra != b""].tolist():
            said = json.loads(text)
            for name in fields:
                value = said.get(name)
                is_long = type(value) is int and value not in INT64
                found[name].add(str if is_long else type(value))
    types = {frozenset({int}): pa.int64(), frozenset({bool}): pa.bool_(), frozenset({float}): pa.float64()}
    types[frozenset({int, float})] = pa.float64()
    inputs = {"INT64": pa.int64(), "FP64": pa.float64(), "FP32": pa.float64(), "BOOL": pa.bool_()}
    spec = StreamSpec.load(Path(log.folder))
    expected = {tensor.name: inputs.get(tensor.dtype, pa.string()) for tensor in spec.context}
    kinds = {name: frozenset(values - {type(None)}) for name, values in found.items()}
    text = pa.string()
    return {name: types.get(said, text) if said else expected.get(name, text) for name, said in kinds.items()}


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)
