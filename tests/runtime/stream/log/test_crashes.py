"""Writers in processes of their own that are killed, meet a full disk, or write beside readers."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.stream.log.errors import LogError
from runtime.stream.log.log import EventLog
from runtime.stream.log.reader import read_log
from tests.runtime.stream.log.made import events_of
from tests.small_disk import small_disk

ROOT = Path(__file__).parents[4]


def start(folder: Path, sync: str = "sync", **more) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.runtime.stream.log.writer", str(folder), sync]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, **more)


def read_all(folder: Path) -> int:
    """Check that each event is at its offset, once; how many there are."""
    expected = 0
    for frame in read_log(folder):
        assert frame.first_offset == expected
        assert frame.offsets.tolist() == frame.events.user.tolist()
        expected = frame.next_offset
    return expected


@pytest.mark.parametrize("sync", ["sync", "memory"])
def test_every_acknowledged_event_is_there_once_after_kill_9(tmp_path, sync):
    known = 0
    for number in range(4):
        with start(tmp_path, sync) as writer:
            acknowledged = [writer.stdout.readline() for _ in range(5)]
            time.sleep(0.013 * number)
            writer.kill()
            acknowledged += writer.stdout.readlines()
        for line in acknowledged:
            if line.endswith("\n"):
                first, count = map(int, line.split())
                # Offsets go on where the last process stopped, or behind a frame that it did not live to acknowledge.
                assert first >= known
                known = first + count
        assert read_all(tmp_path) >= known
        known = read_all(tmp_path)


def test_readers_beside_a_writer_find_whole_frames_in_order(tmp_path):
    with start(tmp_path, "memory") as writer:
        try:
            writer.stdout.readline()
            counts: list[int] = []
            while len(set(counts)) < 4 or len(list((tmp_path / "log").iterdir())) < 3:
                counts.append(read_all(tmp_path))
                # The writer goes on meanwhile, which would stand still once nobody reads what it says.
                assert all(writer.stdout.readline() for _ in range(100))
                # Reading on from where the last round ended.
                assert all(frame.first_offset >= counts[-1] for frame in read_log(tmp_path, counts[-1]))
        finally:
            writer.kill()
            writer.stdout.read()
    assert counts == sorted(counts)


def test_a_second_process_is_refused_by_name(tmp_path):
    with start(tmp_path) as writer:
        try:
            writer.stdout.readline()
            with pytest.raises(LogError, match=f"being written by process {writer.pid};"):
                EventLog(tmp_path, sync=True, segment_bytes=1 << 20)
        finally:
            writer.kill()
            writer.stdout.read()
    EventLog(tmp_path, sync=True, segment_bytes=1 << 20).close()


def test_a_write_that_fails_halfway_leaves_the_events_before_it(tmp_path):
    limit = 9_973

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    with start(tmp_path, preexec_fn=small_files) as writer:
        *acknowledged, refused = writer.stdout.readlines()
    assert writer.returncode == 3
    assert "cannot be written (File too large); no event was taken in" in refused
    first, count = map(int, acknowledged[-1].split())
    assert read_all(tmp_path) == first + count
    log = EventLog(tmp_path, sync=True, segment_bytes=1 << 20)
    assert (log.next_offset, log.num_cut_bytes) == (first + count, 0)
    log.close()


@pytest.fixture
def disk(tmp_path):
    """A file system of 64 KiB."""
    with small_disk(tmp_path / "disk", 64 << 10, lazy=True) as folder:
        yield folder


def test_a_full_disk_is_one_sentence_and_the_log_goes_on_when_there_is_space(disk):
    (disk / "ballast").write_bytes(bytes(20_000))
    log = EventLog(disk / "events", sync=True, segment_bytes=5_000)
    with pytest.raises(LogError, match=r"cannot be (written|made) \(No space left on device\)"):
        for _ in range(1000):
            log.append(events_of([log.next_offset + place for place in range(10)]), 0)
    full = log.next_offset
    assert read_all(disk / "events") == full > 100
    with pytest.raises(LogError, match="No space left"):
        log.append(events_of(range(full, full + 200)), 0)
    (disk / "ballast").unlink()
    assert log.append(events_of([full]), 0) == full
    log.close()
    assert read_all(disk / "events") == full + 1
