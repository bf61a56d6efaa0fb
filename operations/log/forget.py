"""`cascade log forget`: what a user asked and got leaves MON, and what is still on its way there is left out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from operations.folder import (
    FORGOTTEN,
    MISMATCHED,
    STATUS,
    Change,
    held,
    open_parquet,
    parquet_files,
    read_json,
    readable,
)
from operations.log.chains import drop_unnamed
from operations.log.collect import collect
from operations.log.write import write_table
from runtime.log.folder import OPEN, salts
from runtime.log.sampling import user_bytes
from runtime.stream.log.errors import BusyError, LogError
from workflows.core import console
from workflows.core.disk import writing
from workflows.core.errors import ArtefactError

__all__ = ["forget", "names_of"]


def forget(folder: Path, user: str) -> int:
    """Remove every row of a user.

    Args:
        folder: MON.
        user: the raw id, as text.

    Returns:
        The number of rows.

    Raises:
        ArtefactError: there is no MON, it is held, or the salt of a log that it was collected from is not there.
    """
    logs = [Path(log) for log in read_json(folder / STATUS, {"logs": []})["logs"]]
    for log in logs:
        if (log / OPEN).is_dir():
            _collect(log, folder)
    try:
        keys = [salt.user_key(name) for log in logs for salt in salts(log) for name in names_of(user)]
    except LogError as error:
        raise ArtefactError(f"{error}; without it the rows of this user cannot be told from others") from error
    with writing("log forget", folder), held(folder, "changed"):
        change = Change(folder)
        # What is being written now is left out when it is collected; it was asked before this instant.
        known = read_json(folder / FORGOTTEN, {})
        change.place_json(folder / FORGOTTEN, known | {key.hex(): time.time_ns() for key in keys})
        if noted := read_json(folder / MISMATCHED, []):
            theirs = {name for path in parquet_files(folder) for name in _requests_of(path, keys)}
            change.place_json(folder / MISMATCHED, [each for each in noted if each[0] not in theirs])
        num_rows = sum(_without(change, path, keys) for path in parquet_files(folder))
        for path in (*folder.glob("joined/*/*/[!.]*.parquet"), *folder.glob("feedback/*/[!.]*.parquet")):
            _without(change, path, keys)
        change.commit()
        drop_unnamed(folder)
    console.say(
        f"log forget: {num_rows} rows of this user are gone; of what servers are writing now, none is collected"
    )
    return num_rows


def _collect(log: Path, folder: Path) -> None:
    """Have what is in a log collected; a collector that follows it does so within seconds, without the user."""
    try:
        collect(log, folder)
    except ArtefactError as error:
        if not isinstance(error.__cause__, BusyError):
            raise


def names_of(user: str) -> Iterator[bytes]:
    """The bytes of an id that may be a text or a number."""
    yield user_bytes(user)
    if user.removeprefix("-").isascii() and user.removeprefix("-").isdigit():
        yield user_bytes(int(user))


def _requests_of(path: Path, keys: list[bytes]) -> list[str]:
    """The ids of a file's requests for some users."""
    with readable(path):
        table = open_parquet(path).read(["request_id", "user_key"])
    found: list[str] = table.filter(pc.is_in(table["user_key"], pa.array(keys, pa.binary(16))))[
        "request_id"
    ].to_pylist()
    return found


def _without(change: Change, path: Path, keys: list[bytes]) -> int:
    """Have a file written anew without some users; the number of rows that go."""
    wanted = pa.array(keys, pa.binary(16))
    # One file, without what its folders are named.
    with readable(path):
        file = open_parquet(path)
        if "user_key" in file.schema_arrow.names:
            is_theirs = pc.is_in(file.read(["user_key"])["user_key"], value_set=wanted)
        else:
            is_theirs = _any_in(file.read(["user_keys"])["user_keys"].combine_chunks(), wanted)
        num_rows = int(pc.sum(is_theirs).as_py() or 0)
        if not num_rows:
            return 0
        left = file.read().filter(pc.invert(is_theirs))
    if left.num_rows:
        write_table(left, change.place(path))
    else:
        change.remove(path)
    return num_rows


def _any_in(lists: pa.Array, wanted: pa.Array) -> pa.Array:
    """Whether one of the values of a list is wanted."""
    found = np.zeros(len(lists), bool)
    of = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    found[of[pc.is_in(pc.list_flatten(lists), value_set=wanted).to_numpy(zero_copy_only=False)]] = True
    return pa.array(found)
