"""The folder of a retraining: a run after the other, each with what the one before has finished."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from ensemble.export.layouts import MODEL_NAME
from ensemble.publish_files import replace_file
from workflows.core.artefacts import MANIFEST_NAME, read_manifest
from workflows.core.disk import writing
from workflows.core.errors import ArtefactError
from workflows.core.lock import hold
from workflows.core.run import STAGES

__all__ = ["OUTCOME_FILE", "Outcome", "clean", "drop_if_equal", "finish", "finished_runs", "next_run"]

# In a run that was retrained to its end.
OUTCOME_FILE = "retrained.json"
NAME = "%Y%m%d-%H%M%S"
FRESH = ".new"


class Outcome(msgspec.Struct, frozen=True):
    """The content of retrained.json.

    Attributes:
        verdict: RELEASE, HOLD or REJECT.
        why: one sentence.
        version: that was published; 0: none.
        started_at, ended_at: in UTC, as text.
    """

    verdict: str
    why: str
    version: int
    started_at: str
    ended_at: str


def finished_runs(runs: Path) -> list[Path]:
    """Run directories that were retrained to their end, oldest first."""
    return [path for path in _runs(runs) if (path / OUTCOME_FILE).exists()]


def next_run(runs: Path) -> Path:
    """The run directory of a retraining: the latest one if that was not retrained to its end, else a new one.

    A new one begins with the finished stages of the latest, which its stages take or make again.

    Raises:
        CascadeError: the disk is full.
    """
    earlier = _runs(runs)
    if earlier and not (earlier[-1] / OUTCOME_FILE).exists():
        return earlier[-1]
    fresh = runs / datetime.now(timezone.utc).strftime(NAME)
    if earlier and fresh.name <= earlier[-1].name:  # within a second, or the clock was put back
        fresh = runs / _after(earlier[-1].name)
    with writing("retrain", runs):
        for left in runs.glob(f".*{FRESH}"):  # of a command that was ended
            if _is_name(left.name[1 : -len(FRESH)]):
                shutil.rmtree(left)
        aside = runs / f".{fresh.name}{FRESH}"
        aside.mkdir()
        for stage in STAGES if earlier else ():
            _take(earlier[-1] / stage, aside / stage)
        aside.rename(fresh)
    return fresh


def drop_if_equal(run: Path, runs: Path) -> Path | None:
    """Remove a run that is what the one before it is, as without new data or other settings.

    Returns:
        The one before; None: this one is another.
    """
    before = [path for path in finished_runs(runs) if path.name < run.name]
    if not before or _contents(run) != _contents(before[-1]):
        return None
    shutil.rmtree(run)
    return before[-1]


def _contents(run: Path) -> dict[str, tuple[str, str]]:
    """What tells the stages of a run from those of another; an export made anew is another one."""
    manifests = {stage: read_manifest(run / stage) for stage in STAGES if (run / stage / MANIFEST_NAME).is_file()}
    return {stage: (made.content, made.created_at if stage == "repo" else "") for stage, made in manifests.items()}


def finish(run: Path, outcome: Outcome) -> None:
    """Say what became of a run; the next retraining makes a new one.

    Raises:
        CascadeError: the disk is full; the next retraining goes on with this run.
    """
    with writing("retrain", run):
        replace_file(run / OUTCOME_FILE, msgspec.json.format(msgspec.json.encode(outcome), indent=1).decode())


def clean(runs: Path, repository: Path, keep: int) -> list[Path]:
    """Remove the stages of old runs; what says why they were held or rejected stays.

    Args:
        runs: the folder.
        repository: whose versions' runs are kept: the gate compares by their reports.
        keep: that many of the latest are kept whole.

    Returns:
        The runs that were emptied.
    """
    needed = _published_from(repository)
    emptied = []
    for path in finished_runs(runs)[: -max(keep, 1)]:
        stages = [path / stage for stage in STAGES if (path / stage).is_dir()]
        if not stages or path.absolute() in needed:
            continue
        with suppress(ArtefactError), hold(path, writes=STAGES):  # somebody reads or serves it: the next time
            for stage in stages:
                shutil.rmtree(stage)
            emptied.append(path)
    return emptied


def _published_from(repository: Path) -> set[Path]:
    """Runs that versions of a repository were published from, withdrawn versions included."""
    found = set()
    for path in (repository / MODEL_NAME).glob(f"*/{MANIFEST_NAME}"):
        with suppress(ArtefactError):
            found.add(Path(str(read_manifest(path.parent).info.get("run", ""))))
    return found


def _take(stage: Path, target: Path) -> None:
    """Have a finished stage in another run too: its files are never changed where they are, so both may share them."""
    try:
        names = [entry.path for entry in read_manifest(stage).files]
    except ArtefactError:
        return
    if not all((stage / name).is_file() for name in names):
        return
    for name in (*names, MANIFEST_NAME):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(stage / name, target / name)
        except OSError:  # of a file system without hard links
            shutil.copy2(stage / name, target / name)


def _runs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and _is_name(path.name))


def _is_name(name: str) -> bool:
    try:
        return datetime.strptime(name, NAME).strftime(NAME) == name
    except ValueError:
        return False


def _after(name: str) -> str:
    at = datetime.strptime(name, NAME).replace(tzinfo=timezone.utc).timestamp() + 1
    return datetime.fromtimestamp(at, timezone.utc).strftime(NAME)
