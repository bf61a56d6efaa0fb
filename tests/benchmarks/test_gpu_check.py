"""The check of a GPU machine, rehearsed with NumPy in the place of a GPU."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchmarks.gpu_check.__main__ import run_part
from benchmarks.gpu_check.parts import PARTS, Part
from benchmarks.gpu_check.pieces import Missing, join, split
from benchmarks.gpu_check.table import table
from tests.ensemble.serving.processes import eventually

ROOT = Path(__file__).parents[2]
SMALL = ("--device", "numpy", "--scale", "0.003", "--batches", "1", "2")


def check(out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "scripts/gpu_check.sh"), "--out", str(out), "--carried", str(out), *more]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHON": sys.executable}, check=False
    )


@pytest.mark.slow
def test_every_part_of_a_rehearsal_has_a_result(tmp_path: Path) -> None:
    parts = [part.name for part in PARTS if part.name not in ("tests", "towers", "search 10M", "whole 10M")]
    done = check(tmp_path, *SMALL, "--only", *parts)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert list(found) == parts and not [said for said in found.values() if "error" in said]
    assert found["search 100k"]["float32"]["checked"]["share_of_items"] > 0.99
    assert found["whole 1M"]["ranked_rows_per_s"] > 0 and "skipped" in found["chain"]
    assert "A rehearsal" in (tmp_path / "gpu.md").read_text()


def test_without_a_gpu_each_part_says_why(tmp_path: Path) -> None:
    done = check(tmp_path, "--only", "machine")
    assert done.returncode == 1
    said = json.loads((tmp_path / "gpu.json").read_text())["parts"]["machine"]["error"]
    assert "CuPy" in said


def test_parts_fit_into_eight_minutes() -> None:
    assert sum(part.limit_s for part in PARTS) <= 480


def test_a_part_that_takes_too_long_keeps_what_it_had_and_leaves_nothing_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In the place of Python: says what it found, cuts a line off, and waits for a process of its own.
    script = tmp_path / "part"
    script.write_text(
        f'#!/bin/sh\necho \'{{"a": 1}}\'\nprintf \'{{"a": 1, "b": {{}}\'\nsleep 600 & echo $! > {tmp_path}/pid\nwait\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    options = argparse.Namespace(device="numpy", scale=1.0, batches=[1], carried=tmp_path)
    said = run_part(Part("slow", "machine", 4), options)
    assert (said["a"], said["error"]) == (1, "took more than 4 s") and "b" not in said
    state = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/stat")
    eventually(lambda: is_over(state))


def is_over(state: Path) -> bool:
    """Whether a process is gone, or ended and not waited for: one that is killed takes a while."""
    try:
        return state.read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_run_that_was_cut_off_has_a_table() -> None:
    times = {"p50_ms": 0.125, "p99_ms": 0.25, "users_per_s": 256_000.0, "share_of_bandwidth": 0.61}
    batches = {"batches": {"32": {**times, "share_of_matrix_rate": 0.2}}}
    parts = {
        "machine": {"name": "a card", "seconds": 1.0, "error": "took more than 30 s"},
        "search 1M": {"float32": batches, "seconds": 50.0, "error": "took more than 50 s"},
        "whole 1M": {"seconds": 0.0, "error": "no memory"},
    }
    text = table({"device": "cupy", "scale": 1.0, "parts": parts})
    assert "| 1M float32 | 32 | 0.125 | 256,000 | 61% / 20% |" in text and "rehearsal" not in text


@pytest.mark.slow
def test_faiss_is_compared_with_our_search(tmp_path: Path) -> None:
    done = check(tmp_path, "--faiss", *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "gpu_faiss.json").read_text())["parts"]
    assert "CAGRA" in found["faiss cagra"]["skipped"]
    recalls = {name: of["recall"] for part in found.values() for name, of in part.get("searches", {}).items()}
    assert recalls["ours"] == 1 and recalls["flat"] > 0.999
    assert 0.9 < recalls["ivf, nprobe 16"] <= recalls["ivf, nprobe 64"] == recalls["ivf_pq, nprobe 64"] == 1
    assert "| ivf_pq, nprobe 16 | 2 |" in (tmp_path / "gpu_faiss.md").read_text()


def test_wheels_travel_in_pieces(tmp_path: Path) -> None:
    wheels = []
    for name in ("one", "two"):
        wheels.append(tmp_path / f"{name}-1-py3-none-any.whl")
        with zipfile.ZipFile(wheels[-1], "w") as archive:
            archive.writestr(f"{name}/__init__.py", f"NAME = {name!r}")
            archive.writestr(f"{name}/data.bin", os.urandom(20_000))
    out = tmp_path / "pieces"
    count = split(wheels, out, piece_bytes=15_000)
    assert count > 2 and sorted(path.name for path in out.iterdir()) == [str(n + 1) for n in range(count)]
    there = tmp_path / "there"
    with pytest.raises(Missing, match="has no piece"):
        join(there)
    shutil.copytree(out / "2", there / "2")
    with pytest.raises(Missing, match=rf"{count - 1} of {count} pieces are missing or damaged, carry them: .*/1, "):
        join(there)
    shutil.copytree(out, there, dirs_exist_ok=True)
    (there / "1/piece").write_bytes(b"x" * 15_000)
    with pytest.raises(Missing, match=rf"1 of {count} pieces .*/1$"):
        join(there)
    shutil.copytree(out / "1", there / "1", dirs_exist_ok=True)
    site = join(there)
    assert (site / "one/__init__.py").read_text() == "NAME = 'one'" and (site / "two/data.bin").stat().st_size == 20_000
    assert join(there) == site


def test_without_all_pieces_nothing_is_compared(tmp_path: Path) -> None:
    done = check(tmp_path, "--faiss", "--pieces", str(tmp_path / "none"))
    assert done.returncode == 1 and "scripts/gpu_check.sh faiss prepare makes them" in done.stderr
