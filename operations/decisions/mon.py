"""MON as a decision log: the slates that a chain drew by chance, with what users were known to do with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from operations.feedback.schema import JOINED, day_of, file_in
from operations.folder import STATUS, held, open_parquet, parquet_files, readable
from operations.replay.replay import chain_of, version_of
from operations.replay.requests import Row, rows_in
from workflows.core.errors import DataError

__all__ = ["Drawn", "drawn_slates", "is_mon", "name_of"]

OF_LABELS = ["slate_key", "rank", "label"]


class Drawn(NamedTuple):
    """Drawn slates.

    Attributes:
        rows: of the request log, whose answers can be asked again of another version.
        table: the same as a decision log.
        num_fixed: further answered slates that were not drawn, or whose policy the request chose.
        num_unjoined: drawn slates of days for which no feedback is joined.
    """

    rows: list[Row]
    table: pa.Table
    num_fixed: int
    num_unjoined: int


def is_mon(path: Path) -> bool:
    """Whether a path is a folder of collected requests."""
    return (path / STATUS).is_file()


def name_of(row: Row) -> str:
    """What names a slate: the request, and which of its users."""
    return f"{row.values['request_id']}/{row.values['position']}"


def drawn_slates(folder: Path, label: str, last: int, *, asked_again: bool) -> Drawn:
    """The latest drawn slates of MON with their rewards, 1 for each item that has the label.

    Args:
        folder: MON.
        label: what counts.
        last: how many slates.
        asked_again: whether another version is to be asked, which takes all that the answer rests on.

    Raises:
        DataError: none was drawn, no feedback of any is joined, or nothing has this label.
        ArtefactError: MON cannot be read.
    """
    with held(folder, "read for an evaluation"):
        rows, num_fixed, num_unjoined = _rows(folder, last, asked_again)
        if not rows and not num_unjoined:
            raise DataError(
                f"{folder} holds no slate that was drawn by chance and can be asked again; export a chain with "
                '[chain.order] explore = "softmax", and serve it with --log'
            )
        if not rows:
            raise DataError(f"{folder} has no feedback of its drawn slates; join it with `cascade feedback {folder}`")
        labels, seen = _labels(folder, rows, label)
        if not labels:
            known = ", ".join(sorted(seen)) or "none"
            raise DataError(f"no drawn slate of {folder} has the label {label}; the labels are {known}")
        return Drawn(rows, _table(folder, rows, labels), num_fixed, num_unjoined)


def _rows(folder: Path, last: int, asked_again: bool) -> tuple[list[Row], int, int]:
    """Drawn rows with feedback, the latest first; how many were not drawn, and how many are not joined."""
    rows: list[Row] = []
    num_fixed = num_unjoined = 0
    for path in parquet_files(folder):
        if len(rows) >= last:
            break
        with readable(path):
            table = open_parquet(path).read()
        table = table.filter(pc.and_(pc.is_null(table["error"]), pc.equal(table["attempt"], 1)))
        table = table.filter(pc.greater(table["weight"], 0))
        if asked_again:
            table = table.filter(pc.fill_null(table["replayable"], False))
        if "explored" in table.column_names:
            drawn = table.filter(pc.and_(table["explored"], pc.invert(pc.fill_null(table["forced"], False))))
        else:
            drawn = table.slice(0, 0)
        num_fixed += table.num_rows - drawn.num_rows
        if file_in(folder / JOINED / path.parent.parent.name / path.parent.name) is None:
            num_unjoined += drawn.num_rows
        else:
            rows += rows_in(drawn)
    rows.sort(key=lambda row: (row.values["at"], name_of(row)), reverse=True)
    return rows[:last], num_fixed, num_unjoined


def _labels(folder: Path, rows: Sequence[Row], label: str) -> tuple[set[tuple[bytes, int]], set[str]]:
    """Slates and ranks that have the label, and all labels that there are."""
    days = {(row.values["chain_key"][:16], day_of(row.values["at"])) for row in rows}
    found: set[tuple[bytes, int]] = set()
    seen: set[str] = set()
    for chain, day in sorted(days):
        path = file_in(folder / JOINED / f"chain={chain}" / f"date={np.datetime64(day, 'D')}")
        if path is None:
            continue
        with readable(path):
            table = open_parquet(path).read(OF_LABELS)
        table = table.filter(pc.is_valid(table["label"]))
        seen |= set(pc.unique(table["label"].cast(pa.string())).to_pylist())
        mine = table.filter(pc.equal(table["label"].cast(pa.string()), label))
        found |= set(zip(mine["slate_key"].to_pylist(), mine["rank"].to_pylist(), strict=True))
    return found, seen


def _table(folder: Path, rows: Sequence[Row], labels: set[tuple[bytes, int]]) -> pa.Table:
    """A decision log, by raw item ids: several versions number their items each in their own way."""
    ids: dict[str, NDArray] = {}
    for row in rows:
        key = row.values["chain_key"]
        if key not in ids:
            chain = chain_of(folder, key)
            ids[key] = version_of(chain, row.values["layout"], row.values["model_version"]).ids("items")
    columns: Mapping[str, list] = {
        "request_id": [name_of(row) for row in rows],
        "user_id": [row.values["user_key"].hex() if row.values["user_key"] else None for row in rows],
        "item_ids": [_raw(row, ids, "item_rows") for row in rows],
        "log_propensity": [row.values["log_propensity"] for row in rows],
        "rewards": [_rewards(row, labels) for row in rows],
        "candidate_ids": [_raw(row, ids, "candidate_rows") for row in rows],
        "candidate_scores": [_known(row, "candidate_scores") for row in rows],
        "temperature": [row.values["temperature"] for row in rows],
    }
    return pa.table(columns)


def _raw(row: Row, ids: Mapping[str, NDArray], name: str) -> list | None:
    values = _known(row, name)
    if values is None:
        return None
    raw = ids[row.values["chain_key"]][np.array(values, np.int64)].tolist()
    return [item.decode() if isinstance(item, bytes) else item for item in raw]


def _known(row: Row, name: str) -> list | None:
    """A list of a row, of candidates without the places that hold none."""
    values: list | None = row.values[name]
    rows = row.values["candidate_rows"]
    if name == "item_rows" or values is None or rows is None:
        return values
    return [value for value, place in zip(values, rows, strict=True) if place >= 0]


def _rewards(row: Row, labels: set[tuple[bytes, int]]) -> list[float]:
    key = row.values["slate_key"]
    return [float((key, rank) in labels) for rank in range(1, len(row.values["item_rows"]) + 1)]
