"""What a process counts of its requests, and the file that it leaves."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.log.usage import BOUNDS_S, MOST_CONSUMERS, OTHER, UNNAMED, Usage


@pytest.fixture
def log(tmp_path) -> Path:
    (tmp_path / "log").mkdir()
    return tmp_path / "log"


@pytest.fixture
def usage(log) -> Iterator[Usage]:
    made = Usage(log, {"step": "chain"}, [], print, each_s=0.01)
    yield made
    made.close()


def written(log: Path) -> dict[str, Any]:
    (file,) = (log / "usage").glob("*.json")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_requests_slates_and_times_are_counted(log, usage) -> None:
    for us in (999, 1000, 1001, 6_000_000):
        usage.request("web", "ok", us)
    usage.request("web", "refused", None)
    for slate in [(b"known_user", 20, 20), (b"popularity", 3, 20), (b"popularity", 0, 20), (b"history", 9, 5)]:
        usage.slate("web", *slate)
    usage.live([12, -1, 0])
    usage.close()
    said = written(log)
    assert said["live"] == [[True, 2], [False, 1]]
    assert sorted(said["requests"]) == [["web", "ok", 4], ["web", "refused", 1]]
    assert sorted(said["slates"]) == [
        *(["web", "history", "full", 1], ["web", "known_user", "full", 1]),
        *(["web", "popularity", "empty", 1], ["web", "popularity", "short", 1]),
    ]
    buckets = [0] * (len(BOUNDS_S) + 1)
    buckets[0], buckets[1], buckets[-1] = 2, 1, 1  # an upper end belongs to its bucket
    assert said["times"] == [["web", [*buckets, 6_003_000]]]
    assert said["ended"] and said["labels"] == {"step": "chain"}


def test_a_living_process_rewrites_its_file_and_keeps_its_time_new(log, usage) -> None:
    def look() -> tuple[list[Any], float]:
        return written(log)["requests"], next((log / "usage").glob("*.json")).stat().st_mtime

    until = time.monotonic() + 120
    usage.request("web", "ok", 5)
    while not (log / "usage").exists() or not [*(log / "usage").glob("*.json")] or look()[0] != [["web", "ok", 1]]:
        assert time.monotonic() < until
    first = look()[1]
    while look()[1] == first:
        assert time.monotonic() < until
    assert not written(log)["ended"]


def test_names_are_few(log, usage) -> None:
    names = [usage.consumer(f"shop-{number}") for number in range(100_000)]
    assert names[:MOST_CONSUMERS] == [f"shop-{number}" for number in range(MOST_CONSUMERS)]
    assert set(names[MOST_CONSUMERS:]) == {OTHER}
    assert usage.consumer("") == UNNAMED
    chosen = Usage(log, {}, ["web"], print)
    assert [chosen.consumer(name) for name in ("web", "app", "")] == ["web", OTHER, UNNAMED]
    chosen.close()


def test_a_folder_that_cannot_be_written_is_said_once_and_costs_no_count(log) -> None:
    said: list[str] = []
    log.rmdir()
    usage = Usage(log, {}, [], said.append, each_s=0.005)
    usage.request("web", "ok", 5)
    until = time.monotonic() + 120
    while not said:
        assert time.monotonic() < until
    time.sleep(0.05)
    assert len(said) == 1 and "cannot be written" in said[0]
    log.mkdir()
    usage.close()
    assert written(log)["requests"] == [["web", "ok", 1]]
