"""The sum of the processes' counts: it is right, and it never falls, whatever becomes of a process."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from operations.usage.counts import GONE_S, RETURNS_S, Counts, read_usage
from runtime.log.usage import BOUNDS_S, MOST_CONSUMERS
from workflows.core.errors import ArtefactError

BUCKETS = len(BOUNDS_S) + 1


@pytest.fixture
def log(tmp_path) -> Path:
    (tmp_path / "usage").mkdir()
    return tmp_path


def process(
    log: Path, name: str, count: int, *, ended: bool = False, age_s: float = 0.0, consumer: str = "web"
) -> None:
    """A process that has answered `count` requests, each in 2 ms."""
    said = {
        "labels": {"model_version": "3", "layout": "fused", "step": "chain"},
        "started_ns": 1,
        "ended": ended,
        "requests": [[consumer, "ok", count]],
        "slates": [[consumer, "known_user", "full", 2 * count]],
        "live": [[True, count]],
        "times": [[consumer, [0, count, *[0] * (BUCKETS - 2), 2000 * count]]],
    }
    path = log / "usage" / f"{name}.json"
    path.write_text(json.dumps(said))
    os.utime(path, (time.time() - age_s,) * 2)


def ok(counts: Counts, consumer: str = "web") -> int:
    return counts.requests[consumer, "ok"]


def files(log: Path) -> list[str]:
    return sorted(path.name for path in (log / "usage").glob("*.json"))


def test_living_ones_are_added_up(log) -> None:
    process(log, "a", 3)
    process(log, "b", 4)
    counts = read_usage([log])
    assert ok(counts) == 7 and counts.slates["web", "known_user", "full"] == 14
    assert counts.live == {True: 7}
    assert counts.times["web"].buckets[1] == 7 and counts.times["web"].sum_s == pytest.approx(0.014)
    assert counts.processes == {("3", "fused", "chain"): 2}


def test_those_that_ended_or_were_killed_are_kept_in_the_totals(log) -> None:
    process(log, "a", 3, ended=True)
    process(log, "b", 4, age_s=GONE_S + 1)
    process(log, "c", 5)
    for _ in range(3):
        counts = read_usage([log])
        assert ok(counts) == 12 and files(log) == ["c.json"]
    assert counts.processes.total() == 1


def test_one_that_was_only_stopped_is_not_counted_twice(log) -> None:
    process(log, "a", 4, age_s=GONE_S + 1)
    assert ok(read_usage([log])) == 4
    process(log, "a", 6)
    assert ok(read_usage([log])) == 6
    process(log, "a", 7, ended=True)
    assert ok(read_usage([log])) == 7 and files(log) == []
    later = read_usage([log], time.time() + RETURNS_S + 1)
    assert ok(later) == later.live[True] == 7
    assert ok(read_usage([log])) == 7


def test_five_hundred_restarts_leave_one_file_and_the_counter_never_falls(log) -> None:
    before = 0
    for number in range(500):
        process(log, f"p{number}", 2, ended=number % 2 == 0, age_s=GONE_S + 1 if number % 2 else 0)
        process(log, "living", number)
        now = ok(read_usage([log]))
        assert now >= before
        before = now
    assert before == 1000 + 499 and files(log) == ["living.json"]


def test_a_killed_reader_loses_nothing(log, monkeypatch) -> None:
    process(log, "a", 3, ended=True)
    process(log, "b", 4)
    real = Path.unlink

    def killed(path: Path, **_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        read_usage([log])
    monkeypatch.setattr(Path, "unlink", real)
    assert ok(read_usage([log])) == 7 and files(log) == ["b.json"]


def test_consumers_that_have_a_counter_keep_it(log) -> None:
    for number in range(MOST_CONSUMERS):
        process(log, f"p{number}", 1, consumer=f"n{number:02d}", ended=True)
    assert ok(read_usage([log]), "n49") == 1
    process(log, "first", 5, consumer="aaa")
    process(log, "again", 2, consumer="n49")
    counts = read_usage([log])
    assert ok(counts, "n49") == 3 and ok(counts, "other") == 5 and ok(counts, "aaa") == 0
    assert len({name for name, _ in counts.requests}) == MOST_CONSUMERS + 1
    assert sum(sum(times.buckets) for times in counts.times.values()) == MOST_CONSUMERS + 7


def test_a_broken_file_costs_no_other(log) -> None:
    process(log, "a", 3)
    (log / "usage/b.json").write_text('{"labels": {')
    assert ok(read_usage([log])) == 3
    (log / "usage/totals.msgpack").write_bytes(b"nonsense")
    with pytest.raises(ArtefactError, match="begin at 0"):
        read_usage([log])


def test_nothing_is_there_yet(tmp_path) -> None:
    assert read_usage([tmp_path]).requests == {}
