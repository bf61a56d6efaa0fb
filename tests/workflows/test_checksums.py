"""Checksums: a run reads each byte once, and no change of a file is hidden by what was read before."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from workflows.core import checksums
from workflows.core.artefacts import verify
from workflows.core.checksums import digest
from workflows.core.errors import ArtefactError
from workflows.core.run import STAGES, Run, run_stage

SETTLED_S = 0.05
SIZE_BYTES = 10_000


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def reads(monkeypatch) -> list[int]:
    """Bytes of each file that was read for its checksum; what is written counts as settled after a short time."""
    sizes: list[int] = []
    read = checksums._read

    def counted(file, advance):
        sizes.append(os.fstat(file.fileno()).st_size)
        return read(file, advance)

    monkeypatch.setattr(checksums, "_read", counted)
    monkeypatch.setattr(checksums, "SETTLED_NS", int(SETTLED_S * 1e9))
    return sizes


def _settle() -> None:
    time.sleep(SETTLED_S + 0.02)


def _all_stages(run: Run) -> None:
    """Eight stages, each of which reads all before it."""

    def body(folder: Path) -> None:
        (folder / "out.bin").write_bytes(folder.name.encode().ljust(SIZE_BYTES))
        _settle()

    for number, stage in enumerate(STAGES):
        run_stage(run, stage, config={}, after=STAGES[:number], body=body)


def test_a_run_of_eight_stages_reads_each_file_once(tmp_path, reads):
    _all_stages(Run(tmp_path))
    # The small config.json of a stage is written last: too late to be known by what reads it next.
    assert reads.count(SIZE_BYTES) == len(STAGES)
    assert sum(reads) < 1.1 * len(STAGES) * SIZE_BYTES


def test_a_run_that_is_up_to_date_reads_what_it_knows_no_more(tmp_path, reads):
    _all_stages(Run(tmp_path))
    reads.clear()
    _all_stages(Run(tmp_path))
    assert SIZE_BYTES not in reads


def test_a_file_that_is_altered_between_two_stages_is_refused(tmp_path, reads):
    run = Run(tmp_path)
    _all_stages(run)
    for folder in map(run.folder, STAGES):
        verify(folder)
    path = run.folder("index") / "out.bin"
    stat = path.stat()
    path.write_bytes(path.read_bytes().swapcase())
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_mtime_ns == stat.st_mtime_ns and path.stat().st_size == stat.st_size
    with pytest.raises(ArtefactError, match=r"index/out\.bin does not match its checksum"):
        run_stage(run, "repo", config={"new": 1}, after=STAGES[:-1], body=lambda folder: None)


def test_another_file_of_the_same_size_and_time_in_its_place_is_seen(tmp_path, reads):
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_bytes(b"first")
    other.write_bytes(b"other")
    _settle()
    assert digest(path) == digest(path) == _sha256(b"first")
    assert reads == [5]
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)
    assert digest(path) == _sha256(b"other")


def test_a_file_that_changes_again_within_a_tick_of_the_clock_is_read_again(tmp_path):
    path = tmp_path / "a"
    for number in range(200):
        data = f"{number:05d}".encode()
        path.write_bytes(data)
        assert digest(path) == _sha256(data)


def test_a_file_that_changes_while_it_is_read_is_not_known(tmp_path, reads):
    path = tmp_path / "a"
    path.write_bytes(b"first")
    _settle()
    digest(path, advance=lambda num_bytes: path.write_bytes(b"other"))
    _settle()
    assert digest(path) == _sha256(b"other")


def test_progress_counts_what_is_known_as_well(tmp_path, reads):
    path, heard = tmp_path / "a", []
    path.write_bytes(b"first")
    _settle()
    for _ in range(2):
        digest(path, heard.append)
    assert heard == [5, 5] and reads == [5]
