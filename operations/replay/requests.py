"""Logged requests as they are asked again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from operations.folder import open_parquet, parquet_files, readable
from operations.log.schema import CONTEXT
from operations.replay.errors import NotReplayableError
from runtime.ids import NO_ITEM

__all__ = ["Row", "latest", "named", "questions", "rows_in", "rows_of"]

# Users that are asked for together; which others are makes no difference to an answer.
TOGETHER = 32
DAY_NS = 86_400 * 10**9


@dataclass(frozen=True)
class Row:
    """One user of a logged request; `values` are the columns of operations.log.schema."""

    values: Mapping[str, Any]

    @property
    def request(self) -> tuple[str, int]:
        """What names the request that it is of: its id, and which attempt."""
        return self.values["request_id"], self.values["attempt"]

    @property
    def why_not(self) -> str:
        """Why it cannot be asked again; empty where it can."""
        if self.values["error"] is not None:
            return "it was refused"
        if self.values["replayable"]:
            return ""
        if self.values.get("variant") is not None:
            return "its slate was drafted from those of two versions"
        if self.values.get("stream_offset", -1) >= 0:
            return "its answer rests on live events of then"
        return "not all of its context was logged"


def named(folder: Path, request_id: str) -> list[Row]:
    """The rows of a request.

    Raises:
        NotReplayableError: there are none.
    """
    rows = rows_of(folder, [request_id])
    if not rows:
        raise NotReplayableError(
            f"{folder} has no request {request_id}: it was not of the sample, is not collected yet, was pruned, or its "
            "user was erased"
        )
    return rows


def rows_of(folder: Path, request_ids: Collection[str]) -> list[Row]:
    """The rows of the requests that have one of some ids.

    Raises:
        ArtefactError: a file cannot be read.
    """
    wanted, rows = pa.array(request_ids, pa.string()), []
    for path in parquet_files(folder):
        with readable(path):
            file = open_parquet(path)
            is_theirs = pc.is_in(file.read(["request_id"])["request_id"], value_set=wanted)
            if pc.any(is_theirs).as_py():
                rows += rows_in(file.read().filter(is_theirs))
    return rows


def latest(folder: Path, number: int) -> list[Row]:
    """The rows of the latest requests, the latest first.

    Args:
        folder: MON.
        number: of requests; those that were refused do not count.

    Raises:
        NotReplayableError: there are none.
        ArtefactError: a file cannot be read.
    """
    found: list[pa.Table] = []
    day, num_requests = "", 0
    for path in parquet_files(folder):
        if path.parent.name != day and num_requests >= number:
            break
        day = path.parent.name
        with readable(path):
            table = open_parquet(path).read()
        table = table.filter(pc.is_null(table["error"]))
        num_requests += pc.count_distinct(table["request_id"]).as_py()
        found.append(table)
    # Chains differ in their columns of context.
    rows = [row for table in found for row in _latest_rows(table, number)]
    rows.sort(key=lambda row: row.values["at"], reverse=True)
    kept = set(list(dict.fromkeys(row.request for row in rows))[:number])
    if not kept:
        raise NotReplayableError(f"{folder} holds no request that was answered")
    return [row for row in rows if row.request in kept]


def _latest_rows(table: pa.Table, number: int) -> list[Row]:
    """The rows of a file that may be among the latest requests."""
    at = np.sort(np.unique(table["at"].cast(pa.int64()).to_numpy()))[::-1]
    return (
        rows_in(table.filter(pc.greater_equal(table["at"].cast(pa.int64()), int(at[:number][-1])))) if len(at) else []
    )


def rows_in(table: pa.Table) -> list[Row]:
    """The rows of a table of requests."""
    columns = dict(zip(table.column_names, table.columns, strict=True))
    columns["at"] = columns["at"].cast(pa.int64())
    lists = {name: values.to_pylist() for name, values in columns.items()}
    return [Row(dict(zip(lists, values, strict=True))) for values in zip(*lists.values(), strict=True)]


def questions(rows: Sequence[Row], *, drawn: bool = True) -> Iterator[tuple[list[Row], dict[str, Any]]]:
    """Batches of rows of one version, each as its process is asked.

    Args:
        rows: of users.
        drawn: whether slates are to be drawn again that were; otherwise none is.
    """
    for batch in _batches(rows):
        of = [row.values for row in batch]
        context = {name.removeprefix(CONTEXT): [v[name] for v in of] for name in of[0] if name.startswith(CONTEXT)}
        question = {
            "user_row": [values["user_row"] for values in of],
            "recent": _padded([values["recent"] for values in of]),
            "excluded": _padded([values["excluded"] for values in of]),
            "slate_size": [values["slate_size"] for values in of],
            "context": context,
            "at": of[0]["at"],
        }
        if "live_at" in of[0]:
            question |= {"live_at": of[0]["live_at"], "live_recent": _padded([v["live_recent"] for v in of])}
        if drawn and "seed" in of[0]:
            question["seed"] = [values["seed"] for values in of]
            question["policy"] = [values["policy"] if values["forced"] else "" for values in of]
        yield batch, question


def _batches(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """At most so many together, of one day, as rules of slates end with days; and of one instant where that counts."""
    batch: list[Row] = []
    for row in rows:
        if batch and (len(batch) == TOGETHER or _instant(row) != _instant(batch[0])):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _instant(row: Row) -> tuple[int, int | None]:
    return row.values["at"] // DAY_NS, row.values.get("live_at")


def _padded(lists: Sequence[Sequence[int]]) -> list[list[int]]:
    width = max(map(len, lists))
    return [[*values, *[NO_ITEM] * (width - len(values))] for values in lists]
