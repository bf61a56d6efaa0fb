"""A log of everything on a disk that stands still: memory stays within its bounds, and what is lost is counted."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest

from runtime.log.folder import LogSettings
from runtime.log.segments import read_segment, ready_segments
from tests.ensemble.serving.processes import eventually
from tests.runtime.log.disks import Disk
from tests.runtime.log.made import Process, Request

USERS, ASKED = 32, 3_000
MOST_BYTES = 8 << 20


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_disk_that_stands_still_costs_records_and_little_memory(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    process = Process(LogSettings(tmp_path, 1.0))
    users = 1000 + np.arange(USERS)[:, None] % 30
    device = np.array([[b"a device with a long name " * 2]] * USERS, object)
    arrays = {"user_id": users, "device": device, "exclude_item_ids": np.tile(np.arange(200), (USERS, 1))}
    answers = process.chain.recommend_many([arrays])

    def answer(number: int) -> None:
        process.recorder.answer(lambda: answers, [Request(f"request-{number}")], [arrays])

    for number in range(20):
        answer(number)
    counts = process.recorder._writer.counts
    eventually(lambda: counts["written"] == 20)
    disk.stall()
    gc.collect()
    before = resident_bytes()
    for number in range(20, ASKED):
        answer(number)
    assert resident_bytes() - before <= MOST_BYTES
    assert counts["written"] == 20
    assert 0 < counts["dropped_queue"] < ASKED
    disk.go_on()
    eventually(lambda: counts["written"] + counts["dropped_queue"] == ASKED)
    kept = counts["written"]
    # It logs again by itself.
    for number in range(ASKED, ASKED + 20):
        answer(number)
    eventually(lambda: counts["written"] == kept + 20)
    process.close()
    # A write that took long is said.
    assert all("a write took" in each for each in process.said)
    found = [each for path in ready_segments(tmp_path) for each in read_segment(path).records]
    assert len(found) == kept + 20
    assert counts["requests"] == counts["sampled"] == ASKED + 20
    assert {each.num_users for each in found} == {USERS}
