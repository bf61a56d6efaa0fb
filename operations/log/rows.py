"""Records of the log as a table: one row a request and user, see `operations.log.schema` for its columns."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from operations.log.columns import Columns
from operations.log.schema import CONTEXT, NAME, TYPES, schema_of
from runtime.ids import NO_ITEM
from runtime.log.record import HASH, REASONS, Record
from runtime.log.rows import CANDIDATE_ROWS, CANDIDATE_SCORES, EXPERIMENT, FORCED_POLICY, LIVE_AT, LIVE_RECENT
from runtime.stream.live import AWAY

__all__ = ["Logged", "table_of"]


class Logged(NamedTuple):
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


def table_of(logged: Sequence[Logged]) -> pa.Table:
    """The rows of requests that one version of a chain answered.

    Args:
        logged: at least one, with headers that name the same context columns.
    """
    header, records = logged[0].header, [each.record for each in logged]
    columns = Columns(records)
    # Where text of the context is none, the request cannot be asked again.
    is_exact = columns.array((_is_exact(each) for each in logged), bool)
    context = {}
    for name, dtype in header["context"]:
        context[CONTEXT + name] = _context(columns, CONTEXT + name, dtype, is_exact)
    table: dict[str, pa.Array] = {
        "request_id": columns.texts((each.request_id for each in records), pa.string()),
        "position": pa.array(columns.position, pa.int16()),
        "slate_key": _slate_keys(records, columns.counts),
        "key": columns.numbers((each.key for each in records), np.uint64),
        "at": pa.array(columns.array((each.at for each in logged), np.int64), pa.timestamp("ns", "UTC")),
        "at_corrected": columns.numbers((each.is_corrected for each in logged), bool),
        "chain_key": columns.texts((each.header["chain_key"] for each in logged), NAME),
        "model_version": columns.numbers((each.header["model_version"] for each in logged), np.int32),
        "layout": columns.texts((each.header["layout"] for each in logged), NAME),
        "consumer": columns.texts((each.consumer for each in records), NAME),
        "experiment": _labels(columns),
        "traceparent": columns.texts((each.trace or None for each in records), pa.string()),
        "attempt": columns.numbers((min(each.attempt, 127) for each in logged), np.int8),
        "user_key": columns.keys("user_key"),
        "salt_id": columns.texts((each.header["salt_id"] for each in logged), NAME),
        "user_row": pc.max_element_wise(columns.of_users("user_row", pa.int32()), NO_ITEM, skip_nulls=False),
        "recent": columns.lists("recent", pa.int32()),
        "excluded": columns.lists("exclude", pa.int32()),
        "slate_size": columns.of_users("slate_size", pa.int32()),
        **context,
        "item_rows": columns.items("item_rows", pa.int32()),
        "scores": columns.items("score", pa.float32()),
        "num_items": columns.of_users("num_items", pa.int32()),
        "path": columns.dictionary("path"),
        "service_us": columns.numbers((each.service_us for each in logged), np.uint32),
        "batch": columns.numbers((each.batch for each in records), np.uint16),
        "error": columns.texts((each.error or None for each in records), pa.string()),
        "weight": columns.numbers((_weight(each) for each in logged), np.float32),
        "reason": columns.texts((REASONS[each.reason] for each in records), NAME),
        "replayable": pa.array(is_exact),
        "env_id": columns.texts((each.env_id for each in logged), NAME),
    }
    if header["is_live"]:
        table |= {name: columns.of_users(name, pa.int64()) for name in ("stream_offset", "state_age_ms", LIVE_AT)}
        # Names of recent items are padded where their rows are.
        table[LIVE_RECENT] = columns.lists(LIVE_RECENT, pa.int64(), padded="recent")
    if "temperature" in header:
        table |= _explored(columns, header["temperature"])
    if "teams" in header:
        table |= {"variant": columns.dictionary("variant"), "team": columns.items("team", pa.int32())}
    shape = {"is_live": header["is_live"], "explores": "temperature" in header, "drafts": "teams" in header}
    return pa.table(table, schema_of(header["context"], **shape))


def _labels(columns: Columns) -> pa.Array:
    """What each user was in; null for none."""
    values = columns.objects(EXPERIMENT)
    texts = {each: each.decode("utf-8", "replace") if each else None for each in set(values)}
    return pa.array([texts[each] for each in values], pa.string()).cast(NAME)


def _explored(columns: Columns, temperature: float) -> dict[str, pa.Array]:
    """The columns of a chain that explores."""
    explored = columns.of_users("explored", pa.uint8()).cast(pa.bool_())
    drawn = pc.fill_null(explored, fill_value=False)
    candidates = {
        name: pc.if_else(drawn, columns.lists(name, kind, padded=CANDIDATE_ROWS), pa.scalar(None, pa.list_(kind)))
        for name, kind in ((CANDIDATE_ROWS, pa.int32()), (CANDIDATE_SCORES, pa.float32()))
    }
    return {
        "policy": columns.dictionary("policy"),
        "explored": explored,
        "forced": columns.of_users(FORCED_POLICY, pa.int32()).cast(pa.bool_()),
        "seed": columns.of_users("seed", pa.int64()),
        "log_propensity": columns.items("log_propensity", pa.float32()),
        "temperature": pc.if_else(drawn, pa.scalar(temperature, pa.float32()), pa.scalar(None, pa.float32())),
        **candidates,
    }


def _context(columns: Columns, name: str, dtype: str, is_exact: NDArray[np.bool_]) -> pa.Array:
    """A context column; text that is no UTF-8 becomes null, and its row inexact in place."""
    if dtype != "BYTES":
        return columns.numbers_or_null(name, TYPES[dtype])
    values = columns.objects(name)
    texts = {value: _text(value) for value in set(values)}
    is_exact &= np.array([value is None or texts[value] is not None for value in values])
    return pa.array([texts[value] for value in values], TYPES[dtype])


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _slate_keys(records: Sequence[Record], counts: NDArray[np.int64]) -> pa.Array:
    """16 bytes that name a slate: of its request and the user's position in that."""
    keys = [
        hashlib.blake2b(f"{record.request_id}\0{position}".encode(), digest_size=16).digest()
        for record, count in zip(records, counts.tolist(), strict=True)
        for position in range(count)
    ]
    return pa.array(keys, pa.binary(16))


def _is_exact(logged: Logged) -> bool:
    """Whether the answer follows from what is logged and the files of the version."""
    if logged.record.error or logged.header["dropped"] or "teams" in logged.header:
        return False
    # Of the state of live events only what came of it is here.
    offsets = logged.record.arrays.get("stream_offset")
    return offsets is None or bool((offsets.array() == AWAY).all())


def _weight(logged: Logged) -> float:
    """How many requests a sampled one stands for; one that is logged for another reason stands for none."""
    return 1.0 / logged.header["share"] if logged.record.reason == HASH else 0.0
