"""The writer never stops whoever answers: what does not fit or cannot be written is counted."""

from __future__ import annotations

import subprocess
import sys

import pytest

from runtime.log.folder import make_log
from runtime.log.segments import adopt, read_segment, ready_segments
from runtime.log.writer import Writer
from tests.ensemble.serving.processes import eventually
from tests.runtime.log.disks import Disk
from tests.runtime.log.made import HEADER_OF, record


@pytest.fixture
def log(tmp_path):
    make_log(tmp_path)
    return tmp_path


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


def writer_of(log, said=None, **options):
    return Writer(log, lambda: HEADER_OF, (said if said is not None else []).append, **options)


def ids_in(log):
    adopt(log)
    return [each.request_id for path in ready_segments(log) for each in read_segment(path).records]


def test_what_is_added_is_ready_when_the_writer_is_closed(log):
    writer = writer_of(log)
    for number in range(100):
        writer.add(record(number).pack())
    writer.close()
    assert ids_in(log) == [f"request-{number}" for number in range(100)]
    (path,) = ready_segments(log)
    assert read_segment(path).counts == {"written": 100} == dict(writer.counts)
    assert not [*(log / "open").iterdir()]


def test_a_large_segment_is_followed_by_another_one(log):
    writer = writer_of(log, segment_bytes=1000)
    for number in range(30):
        writer.add(record(number).pack())
        eventually(lambda number=number: writer.counts["written"] > number)
    writer.close()
    assert len(ready_segments(log)) > 1
    assert len(ids_in(log)) == 30


def test_an_old_segment_is_made_ready_without_another_record(log):
    writer = writer_of(log, rotate_s=0.2)
    writer.add(record(1).pack())
    eventually(lambda: ids_in(log) == ["request-1"])
    writer.add(record(2).pack())
    writer.close()
    assert ids_in(log) == ["request-1", "request-2"]


def test_what_does_not_fit_is_counted_and_left_out(log, disk):
    disk.stall()
    packed = record(1).pack()
    writer = writer_of(log, queue_bytes=3 * len(packed))
    for _ in range(10):
        writer.add(packed)
    assert writer.counts["dropped_queue"] == 7
    disk.go_on()
    writer.close()
    assert len(ids_in(log)) == 3
    assert writer.counts == {"written": 3, "dropped_queue": 7}


def test_a_full_disk_is_counted_said_once_and_overcome(log, disk):
    said: list[str] = []
    disk.is_full = True
    writer = writer_of(log, said)
    for number in range(3):
        writer.add(record(number).pack())
        eventually(lambda number=number: writer.counts["dropped_disk"] > number)
    disk.is_full = False
    writer.add(record(3).pack())
    writer.close()
    assert ids_in(log) == ["request-3"]
    assert writer.counts == {"dropped_disk": 3, "written": 1}
    assert said == [f"requests cannot be logged to {log} (No space left on device); answers are given all the same"]
    assert not [*(log / "open").iterdir()]


def test_half_a_record_on_a_full_disk_is_taken_back(log, disk):
    writer = writer_of(log)
    for number, fails in enumerate((False, True, False)):
        disk.is_full = fails
        writer.add(record(number).pack())
        eventually(lambda number=number: sum(writer.counts.values()) > number)
    writer.close()
    (path,) = ready_segments(log)
    found = read_segment(path)
    assert [each.request_id for each in found.records] == ["request-0", "request-2"]
    assert (found.num_damaged, found.torn_bytes) == (0, 0)


def test_what_waits_behind_a_write_that_fails_is_written_without_another_record(log, disk, monkeypatch):
    monkeypatch.setattr("runtime.log.writer.TOGETHER_BYTES", 1)
    disk.num_failing = 1
    disk.stall()
    writer = writer_of(log)
    for number in range(4):
        writer.add(record(number).pack())
    disk.go_on()
    eventually(lambda: sum(writer.counts.values()) == 4)
    assert writer.counts == {"dropped_disk": 1, "written": 3}
    writer.close()
    assert ids_in(log) == [f"request-{number}" for number in range(1, 4)]


def test_a_log_that_is_gone_is_counted(log):
    (log / "open").rmdir()
    writer = writer_of(log)
    writer.add(record(1).pack())
    writer.close()
    assert writer.counts == {"dropped_disk": 1}


def test_what_waits_is_written_at_once_when_the_process_that_started_this_one_ends(log):
    writes = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from runtime.log import writer\n"
        "from tests.runtime.log.made import HEADER_OF, record\n"
        "writer.FLUSH_S = 600\n"
        f"log = writer.Writer(Path({str(log)!r}), lambda: HEADER_OF, print)\n"
        "log.add(record(7).pack())\n"
        "print(flush=True)\n"
        "sys.stdin.read()\n"
    )
    ends = (
        "import os, signal, subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {writes!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with subprocess.Popen([sys.executable, "-c", ends], stdin=subprocess.PIPE):
        eventually(lambda: any(read_segment(path).records for path in (log / "open").glob("*.open")))
    eventually(lambda: ids_in(log) == ["request-7"])
