"""Refused events are kept, within bounds, and never in the way."""

from __future__ import annotations

import json

import numpy as np

from runtime.stream.log.rejected import RejectedEvents, rejected_files


def lines_of(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_event_is_kept_with_its_reason_and_what_came(tmp_path):
    said = []
    rejected = RejectedEvents(tmp_path, said.append)
    came = {
        "user_id": b"caf\xc3\xa9\xff",
        "item_id": np.int64(2**53 + 1),
        "at": "yes\nterday",
        "value": np.array([1.5]),
    }
    rejected.keep([("at is 'yesterday'", came), ("no item_id", {"user_id": 3})], 17)
    first, second = lines_of(tmp_path / "rejected.ndjson")
    assert first == {
        "reason": "at is 'yesterday'",
        "received_at": 17,
        "event": {"user_id": "caf\u00e9\\xff", "item_id": 2**53 + 1, "at": "yes\nterday", "value": [1.5]},
    }
    assert second["event"] == {"user_id": 3}
    assert said == []


def test_two_files_are_kept(tmp_path):
    rejected = RejectedEvents(tmp_path, print, max_bytes=1000)
    for number in range(100):
        rejected.keep([("bad", {"number": number})], 0)
    current, older = rejected_files(tmp_path)
    kept = [line["event"]["number"] for path in (older, current) for line in lines_of(path)]
    assert kept == list(range(100 - len(kept), 100))
    assert older.stat().st_size < 1100 and current.stat().st_size < 1100
    assert sorted(path.name for path in tmp_path.glob("*.ndjson")) == ["rejected.1.ndjson", "rejected.ndjson"]


def test_what_cannot_be_kept_is_said_once_and_hurts_nobody(tmp_path):
    said = []
    (tmp_path / "rejected.ndjson").mkdir()
    rejected = RejectedEvents(tmp_path, said.append)
    for _ in range(3):
        rejected.keep([("bad", {})], 0)
    assert said == [f"{tmp_path}/rejected.ndjson cannot be written (Is a directory); refused events are not kept there"]
    (tmp_path / "rejected.ndjson").rmdir()
    rejected.keep([("bad", {})], 0)
    assert len(lines_of(tmp_path / "rejected.ndjson")) == 1
