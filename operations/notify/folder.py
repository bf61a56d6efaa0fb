"""The log of decisions: a Parquet file a batch, which also says how the budget stands after it.

A batch takes its place by one rename. Whatever ends the command before leaves the folder as it was, and after it every
decision is answered as it was made: nothing is decided or spent twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from operations.notify.pace import Pace
from runtime.stream.log.segments import sync_folder
from workflows.core.errors import ArtefactError, DataError

__all__ = [
    "DECISIONS",
    "FRESH",
    "add_batch",
    "batches",
    "check_users",
    "decided_before",
    "latest_pace",
    "sends_since",
    "write_whole",
]

DECISIONS = "decisions"
FRESH, PACE = ".new", b"cascade.notify"


def batches(folder: Path) -> list[Path]:
    """The files of a log, oldest first."""
    return sorted((folder / DECISIONS).glob("*.parquet"))


def latest_pace(folder: Path) -> Pace | None:
    """How the budget stands; None before the first batch.

    Raises:
        ArtefactError: the latest file is damaged, or is none of ours.
    """
    files = batches(folder)
    if not files:
        return None
    try:
        return msgspec.json.decode(pq.read_schema(files[-1]).metadata[PACE], type=Pace)
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, msgspec.DecodeError) as error:
        raise ArtefactError(
            f"{files[-1]} is not what cascade notify wrote ({type(error).__name__}: {error}); put a copy of it back"
        ) from None


def check_users(folder: Path, users: NDArray) -> None:
    """Refuse users that the log could not know again, since it calls them by texts and these are numbers, or so.

    Raises:
        DataError: they are of another kind than those of the latest batch.
    """
    files = batches(folder)
    if not files:
        return
    logged = pq.read_schema(files[-1]).field("user_id").type
    if pa.types.is_integer(logged) != (users.dtype.kind == "i"):
        raise DataError(
            f"user_id of the candidates are {'integers' if users.dtype.kind == 'i' else 'texts'}, and in {folder} they "
            f"are {logged}: caps would count nothing; give them as before, or begin another log"
        )


def decided_before(folder: Path, ids: NDArray) -> pa.Table | None:
    """The decisions on these candidates, in no order; None where there are none.

    Args:
        folder: the log.
        ids: str [N], decision_id.
    """
    wanted, found = pa.array(ids.tolist(), pa.string()), []
    for path in batches(folder):
        if pc.any(pc.is_in(_read(path, ["decision_id"])["decision_id"], wanted)).as_py():
            table = _read(path, None)
            found.append(table.filter(pc.is_in(table["decision_id"], wanted)).replace_schema_metadata(None))
    return pa.concat_tables(found, promote_options="default") if found else None


def sends_since(folder: Path, day: int, users: NDArray) -> tuple[NDArray, NDArray[np.int64]]:
    """Users and dates of the pushes that were sent from a date on, of some users.

    Args:
        folder: the log.
        day: days since 1970, on each user's calendar.
        users: of the batch, of the kind that the log has.
    """
    of: list[NDArray] = [users[:0]]
    days: list[NDArray] = [np.zeros(0, np.int64)]
    for table in _sends(folder, day):
        found = np.asarray(table["user_id"].to_pylist())
        known = np.isin(found, users)
        of.append(found[known])
        days.append(np.asarray(table["day"].cast(pa.int32()).to_numpy())[known].astype(np.int64))
    return np.concatenate(of), np.concatenate(days)


def add_batch(folder: Path, table: pa.Table, pace: Pace) -> Path:
    """Keep the decisions of a batch, and how the budget stands after it; all of it or nothing.

    Args:
        folder: the log, held.
        table: the decisions.
        pace: after them.

    Returns:
        The file.
    """
    files = batches(folder)
    number = int(files[-1].name.split("-")[0]) + 1 if files else 1
    at = datetime.fromtimestamp(pace.at_us / 1e6, timezone.utc)
    path = folder / DECISIONS / f"{number:08d}-{at:%Y%m%dT%H%M%SZ}.parquet"
    write_whole(path, table.replace_schema_metadata({PACE: msgspec.json.encode(pace)}))
    return path


def write_whole(path: Path, table: pa.Table) -> None:
    """Write a Parquet file that is there as a whole, on the disk, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}{FRESH}")
    try:
        pq.write_table(table, fresh)
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    sync_folder(path.parent)


def _sends(folder: Path, day: int) -> Iterator[pa.Table]:
    least = pa.scalar(day, pa.int32()).cast(pa.date32())
    for path in batches(folder):
        table = _read(path, ["user_id", "day", "action"])
        table = table.filter(pc.and_(pc.equal(table["action"], 1), pc.greater_equal(table["day"], least)))
        if len(table):
            yield table


def _read(path: Path, columns: list[str] | None) -> pa.Table:
    try:
        return pq.read_table(path, columns=columns)
    except (OSError, pa.ArrowInvalid) as error:
        raise ArtefactError(f"{path} cannot be read ({error}); put a copy of it back") from None
