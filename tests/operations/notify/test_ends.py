"""What ends a batch: a full disk, a kill, a clock that is set back. Nothing is decided twice, nothing kept is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from models.send_gate.config import NotifyConfig
from operations.notify.candidates import read_candidates
from operations.notify.folder import batches
from operations.notify.notify import Notified, notify
from tests.operations.notify.made import GATE, NOON, write_candidates
from tests.small_disk import small_disk
from workflows.core.errors import CascadeError, DataError

CONFIG, SIZE = NotifyConfig(budget=900, explore=0.3), 1 << 20
SCORES = np.random.default_rng(0).normal(size=3_000)
# Ends itself as `kill -9` does, without a `finally`, before or after it renames a file for the first or second time.
ENDING = """
import os, signal, sys
from pathlib import Path
from datetime import timedelta
from tests.operations.notify.test_ends import run, NOON
target, number, is_after = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "after"
rename, count = Path.replace, 0
def ending(source, goal):
    global count
    count += 1
    if count == number and not is_after:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, goal)
    if count == number:
        os.kill(os.getpid(), signal.SIGKILL)
Path.replace = ending
run(Path(target), Path(target) / "log", Path(target) / "out.parquet")
"""


def run(folder: Path, log: Path, out: Path | None = None, hours: int = 0) -> Notified:
    """Decide on `folder`/today.parquet."""
    candidates = read_candidates(folder / "today.parquet", GATE.encoding.names)
    return notify(GATE, candidates, log, CONFIG, NOON + timedelta(hours=hours), out=out)


def decided(found: Notified) -> pa.Table:
    return found.answer.select(["decision_id", "send", "propensity", "reason"])


@pytest.fixture
def today(tmp_path: Path) -> Path:
    write_candidates(tmp_path / "today.parquet", SCORES)
    return tmp_path


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder of a megabyte that is full, but for a file `padding`."""
    with small_disk(tmp_path / "small", SIZE) as folder:
        (folder / "padding").write_bytes(b"x" * (SIZE - 20_000))
        yield folder


def test_a_log_without_space_decides_nothing_and_the_answer_without_space_decides_once(today, small):
    wanted = run(today, today / "whole")
    with pytest.raises(CascadeError) as refused:
        run(today, small / "log")
    assert str(refused.value) == (
        f"notify: the disk of {small / 'log'} is full; free some space and run the same command again"
    )
    assert not batches(small / "log")
    with pytest.raises(CascadeError) as refused:
        run(today, today / "log", small / "out.parquet")
    assert str(refused.value) == f"notify: the disk of {small} is full; free some space and run the same command again"
    assert [path.name for path in small.rglob("*.parquet*")] == []
    (small / "padding").unlink()
    assert decided(run(today, small / "log", hours=1)).equals(decided(wanted))
    again = run(today, today / "log", small / "out.parquet", hours=1)
    assert (again.num_known, again.batch) == (len(SCORES), None)
    assert again.answer.equals(wanted.answer)


@pytest.mark.parametrize(("number", "side", "kept"), [(1, "before", 0), (1, "after", 1), (2, "before", 1)])
def test_a_killed_command_has_decided_all_or_nothing(today, number, side, kept):
    ended = subprocess.run([sys.executable, "-c", ENDING, str(today), str(number), side])
    assert ended.returncode == -signal.SIGKILL
    assert len(batches(today / "log")) == kept
    found = run(today, today / "log", today / "out.parquet", hours=1)
    assert found.num_known == kept * len(SCORES)
    assert decided(found).equals(decided(run(today, today / "whole")))
    assert found.pace.spent == sum(found.answer["send"].to_pylist())
    assert len(batches(today / "log")) == 1
    assert not list((today / "log").rglob("*.new"))


def test_a_clock_that_is_set_back_decides_nothing_new_and_answers_what_is_known(today):
    first = run(today, today / "log", hours=48)
    assert run(today, today / "log").answer.equals(first.answer)
    write_candidates(today / "today.parquet", [9.0], 10_000)
    with pytest.raises(DataError, match=r"in the order of time.* move .*00000001-20260304T120000Z\.parquet away"):
        run(today, today / "log")
    assert len(batches(today / "log")) == 1
    first.batch.rename(today / "aside.parquet")
    assert run(today, today / "log").answer["send"].to_pylist() == [True]
