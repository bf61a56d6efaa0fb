"""Rows of a request log without a server: what its collector writes of requests that a chain has answered."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ensemble.profile.ask import Answers
from operations.folder import CHAINS, REQUESTS
from operations.log.schema import CONTEXT, schema_of
from operations.signals.monitor import date
from runtime.ids import NO_ITEM
from runtime.request import Parsed
from runtime.spec import ChainSpec

__all__ = ["KEY", "log_rows", "note_chain", "write_day"]

KEY = "0" * 64
DAY_NS = 86_400 * 10**9
WEIGHT = 20.0


def log_rows(spec: ChainSpec, requests: Parsed, answers: Answers, user_keys: NDArray[np.int64]) -> pa.Table:
    """One row a request, of day 0; `write_day` gives them another.

    Args:
        spec: of the chain.
        requests: n of one user each.
        answers: to them.
        user_keys: int64 [n], equal where the user is.
    """
    num = len(requests.user_row)
    shown = answers.rows != NO_ITEM
    values: dict[str, Any] = {
        "request_id": [f"{at}" for at in range(num)],
        "position": np.zeros(num, np.int16),
        "slate_key": [at.to_bytes(16, "big") for at in range(num)],
        "key": np.random.default_rng(0).integers(0, 2**63, num).astype(np.uint64),
        "at": np.zeros(num, np.int64),
        "at_corrected": np.zeros(num, bool),
        "chain_key": [KEY] * num,
        "model_version": np.ones(num, np.int32),
        "layout": ["fused"] * num,
        "consumer": ["web"] * num,
        "attempt": np.ones(num, np.int8),
        "user_key": [int(key).to_bytes(16, "big", signed=True) for key in user_keys],
        "salt_id": ["0"] * num,
        "user_row": requests.user_row,
        "recent": _lists(requests.recent, requests.recent != NO_ITEM),
        "excluded": _lists(requests.exclude, requests.exclude != NO_ITEM),
        "slate_size": requests.slate_size,
        "item_rows": _lists(answers.rows, shown),
        "scores": _lists(answers.scores, shown),
        "num_items": shown.sum(axis=1).astype(np.int32),
        "path": [path.decode() for path in answers.paths.tolist()],
        "service_us": np.full(num, 2000, np.uint32),
        "batch": np.ones(num, np.uint16),
        "weight": np.full(num, WEIGHT, np.float32),
        "reason": ["hash"] * num,
        "replayable": np.ones(num, bool),
        "env_id": ["0"] * num,
    }
    for column in spec.context_columns:
        found = requests.context[column.name].tolist()
        values[CONTEXT + column.name] = [None if value is None or value != value else value for value in found]
    schema = schema_of((column.name, column.dtype) for column in spec.context_columns)
    arrays = [_array(values.get(field.name), num, field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def write_day(folder: Path, table: pa.Table, day: int, chain_key: str = KEY) -> Path:
    """Put rows into MON as those of a day."""
    at = pa.array(day * DAY_NS + np.arange(table.num_rows, dtype=np.int64), pa.timestamp("ns", "UTC"))
    dated = table.set_column(table.column_names.index("at"), "at", at)
    path = folder / REQUESTS / f"chain={chain_key[:16]}" / f"date={date(day)}" / "0-0.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(dated, path, compression="zstd", write_page_checksum=True)
    return path


def note_chain(folder: Path, repository: Path, layout: str = "fused") -> str:
    """Say in MON where the version of a repository's export is; returns the key of its chain."""
    key = hashlib.sha256((repository.parent / "manifest.json").read_bytes()).hexdigest()
    record = {"chain_key": key, "model_version": 1, "repositories": {layout: str(repository)}, "environments": {}}
    (folder / CHAINS).mkdir(parents=True, exist_ok=True)
    (folder / CHAINS / f"{key[:16]}.json").write_text(json.dumps(record))
    return key


def _lists(values: NDArray, kept: NDArray[np.bool_]) -> pa.Array:
    ends = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(values[kept]))


def _array(values: Any, num: int, kind: pa.DataType) -> pa.Array:
    if values is None:
        return pa.nulls(num, kind)
    if isinstance(values, pa.Array):
        return values.cast(kind)
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).cast(kind)
    if pa.types.is_timestamp(kind):
        return pa.array(values).cast(kind)
    if pa.types.is_string(kind):
        values = [value.decode() if isinstance(value, bytes) else value for value in values]
    return pa.array(values, kind)
