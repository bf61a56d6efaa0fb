"""One trial: the stage as a process of its own in a run directory of its own, watched epoch by epoch."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ensemble.search.config import SearchedStage
from models.retrieval.checkpoint import BYTES, FILE_NAME, Progress
from workflows.core.errors import CascadeError
from workflows.core.run import STAGES, Run

__all__ = ["link_run", "run_trial"]

POLL_S = 0.2
STOP_TIMEOUT_S = 20.0
LOG_LINES = 5


def link_run(run: Run, stage: SearchedStage, root: Path) -> Run:
    """A fresh run directory whose finished stages before `stage` are links to those of `run`.

    Args:
        run: its stages before `stage` have finished.
        stage: what the trial trains.
        root: the trial's run directory; an earlier one is removed.
    """
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    for name in STAGES[: STAGES.index(stage)]:
        if run.folder(name).is_dir():
            (root / name).symlink_to(os.path.relpath(run.folder(name).resolve(), root.resolve()))
    return Run(root)


def run_trial(
    trial: Run, stage: SearchedStage, command: Sequence[str], after_epoch: Callable[[int, dict[str, Any]], bool]
) -> bool:
    """Train, telling every epoch as its checkpoint appears.

    Args:
        trial: its earlier stages are linked.
        stage: what the command trains.
        command: starts the training; what it prints goes to `trial.log` of the run directory.
        after_epoch: called with the number of an epoch, from 0, and its record; false ends the training.

    Returns:
        Whether it went to its end; false where `after_epoch` ended it.

    Raises:
        CascadeError: the training failed; the last lines that it printed are in the message.
    """
    log, told = trial.root / "trial.log", 0
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            while process.poll() is None:
                time.sleep(POLL_S)
                history = _history_so_far(trial.scratch(stage))
                for record in history[told:]:
                    told += 1
                    if not after_epoch(told - 1, record):
                        return False
        finally:
            _stop(process)
    if process.returncode:
        lines = log.read_text(errors="replace").strip().splitlines()[-LOG_LINES:]
        raise CascadeError(f"the trial's training failed (status {process.returncode}): {' / '.join(lines)}")
    history = msgspec.json.decode((trial.folder(stage) / "history.json").read_bytes())
    # Epochs may have passed between the last two looks.
    return all(after_epoch(number, history[number]) for number in range(told, len(history)))


def _history_so_far(scratch: Path) -> list[dict[str, Any]]:
    """The records of the finished epochs; the checkpoint is replaced atomically and gone once the stage is done."""
    try:
        with np.load(scratch / FILE_NAME, allow_pickle=False) as file:
            return msgspec.json.decode(file[BYTES].tobytes(), type=Progress).history
    except FileNotFoundError:
        return []


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
