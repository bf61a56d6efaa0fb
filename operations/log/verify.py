"""`cascade log verify`: every byte of a log, or of what was collected, is what was written."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from operations.folder import STATUS, held, parquet_files, read_json
from runtime.log.folder import OPEN, OPEN_SUFFIX, read_salt
from runtime.log.segments import read_segment, ready_segments
from runtime.stream.log.errors import LogError
from workflows.core import console
from workflows.core.errors import ArtefactError

__all__ = ["verify"]


def verify(path: Path) -> int:
    """Read everything.

    Args:
        path: LOG or MON.

    Returns:
        The number of records or rows.

    Raises:
        ArtefactError: something is damaged, or the folder is neither.
    """
    if (path / OPEN).is_dir():
        return _verify_log(path)
    if not (path / STATUS).is_file():
        raise ArtefactError(
            f"{path} is neither a request log, which `cascade serve --log` writes, nor what `cascade log collect` made"
        )
    with held(path, "verified"):
        return _verify_rows(path)


def _verify_log(log: Path) -> int:
    damaged, num_records, torn = [], 0, 0
    being_written = sorted((log / OPEN).glob(f"*{OPEN_SUFFIX}"))
    try:
        read_salt(log)
        ready = ready_segments(log)
        for path in (*ready, *being_written):
            segment = read_segment(path)
            num_records += len(segment.records)
            torn += segment.torn_bytes > 0
            if segment.num_damaged or not segment.header:
                damaged.append(path.name)
    except LogError as error:
        raise ArtefactError(str(error)) from error
    ends = f"; {torn} end with a record that was cut off, which is left out" if torn else ""
    console.say(
        f"log verify: {num_records:,} records in {len(ready)} segments and {len(being_written)} open ones{ends}"
    )
    if damaged:
        raise ArtefactError(
            f"{log}: {len(damaged)} segments are damaged, first {damaged[0]}; what is whole of them is collected, and "
            "what is not is counted"
        )
    return num_records


def _verify_rows(folder: Path) -> int:
    num_rows = 0
    for path in parquet_files(folder):
        num_rows += _whole_rows(path)
    for path in (*folder.glob("feedback/*/[!.]*.parquet"), *folder.glob("joined/*/*/[!.]*.parquet")):
        _whole_rows(path)
    counts = read_json(folder / STATUS, {})["counts"]
    lost = {name: counts[name] for name in ("dropped_queue", "dropped_disk", "half", "damaged") if counts.get(name)}
    told = ", ".join(f"{name} {number}" for name, number in lost.items()) or "none"
    console.say(f"log verify: {num_rows:,} rows are whole; not collected: {told}")
    return num_rows


def _whole_rows(path: Path) -> int:
    """Read a file to its end; the number of its rows."""
    try:
        return int(pq.ParquetFile(path, page_checksum_verification=True).read().num_rows)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ArtefactError(f"{path} is damaged ({reason}); put a copy of it back, or remove it") from error
