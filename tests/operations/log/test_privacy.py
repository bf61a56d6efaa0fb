"""No raw id of a user is anywhere in LOG or MON, whatever was done with them; erasing one changes nothing of others."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from operations.feedback.join import feedback
from operations.folder import parquet_files
from operations.log.collect import collect
from operations.log.forget import forget
from operations.replay.replay import replay
from runtime.log.folder import LogSettings
from runtime.log.identity import Served, chain_key
from tests.operations.repository import publish_golden
from tests.runtime.log.made import Process, Request

# By golden chain: ids that no other number or text of a log is like, known ones and unknown ones.
IDS = {
    "exact": [7_340_123_456_789_012_000 + number for number in range(6)],
    "plain": [f"üser-{number:05d}" for number in range(4)] + ["a stranger", "7340123456789012345"],
}


def traces(user: int | str) -> list[bytes]:
    """The bytes that an id would be found by."""
    if isinstance(user, str):
        return [user.encode(), json.dumps(user)[1:-1].encode()]
    sizes = [user.to_bytes(size, order, signed=True) for size in (8, 16) for order in ("little", "big")]
    return [str(user).encode(), hex(user)[2:].encode(), *sizes]


def content(folder: Path) -> bytes:
    """Everything in a folder, names too: bytes of files, and what is in compressed ones."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    tables = [pq.ParquetFile(path).read() for path in files if path.suffix == ".parquet"]
    read = [repr(table.to_pylist()).encode() for table in tables]
    raw = [
        buffer.to_pybytes()
        for table in tables
        for column in table.combine_chunks().columns
        for chunk in column.chunks
        for buffer in chunk.buffers()
        if buffer is not None
    ]
    return b"\n".join([*(str(path).encode() for path in files), *(path.read_bytes() for path in files), *read, *raw])


def answers(mon: Path) -> dict[Any, Any]:
    """What was answered, by request and user."""
    rows = [row for path in parquet_files(mon) for row in pq.ParquetFile(path).read().to_pylist()]
    return {(row["request_id"], row["position"]): (row["item_rows"], row["scores"], row["path"]) for row in rows}


@pytest.mark.parametrize("variant", IDS)
def test_raw_ids_are_nowhere_and_one_user_can_be_erased(tmp_path: Path, variant: str) -> None:
    log, mon, users = tmp_path / "LOG", tmp_path / "MON", IDS[variant]
    folder = publish_golden(tmp_path / "published", 1, variant=variant)
    process = Process(
        LogSettings(log, 1.0), variant, Served(chain_key(folder), 1, tmp_path / "published"),
    )  # fmt: skip
    dtype = object if isinstance(users[0], str) else np.int64
    for number, user in enumerate(users):
        ids = [each.encode() if isinstance(each, str) else each for each in (user, users[0])]
        process.answer([Request(f"request-{number}")], [{"user_id": np.array([[each] for each in ids], dtype)}])
    refused = {"user_id": np.array([[ids[0]]], dtype), "slate_size": np.array([[0]], np.int32)}
    process.answer([Request("refused")], [refused])
    found = [content(log)]
    process.close()
    found.append(content(log))
    collect(log, mon, views=["kserve"])
    items = np.load(folder / "chain/ids/items.npy").tolist()
    item = items[0].decode() if isinstance(items[0], bytes) else items[0]
    now = datetime.now(timezone.utc).isoformat()
    events = [
        {"user_id": user, "item_id": item, "at": now, "label": "click", "event_id": f"e{number}"}
        for number, user in enumerate(users)
    ]
    (tmp_path / "events.ndjson").write_text("".join(json.dumps(event) + "\n" for event in events))
    feedback(mon, tmp_path / "events.ndjson")
    before = answers(mon)
    found.append(content(mon))
    assert forget(mon, str(users[1])) == 1
    assert replay(mon, last=100).differing == {}
    after = answers(mon)
    assert after == {key: value for key, value in before.items() if key != ("request-1", 0)}
    found.append(content(mon))
    # What is there is found by the same means.
    assert all(b"request-0" in everything for everything in found[1:])
    for user in users:
        for trace in traces(user):
            assert not [place for place, everything in enumerate(found) if trace in everything], (user, trace)
