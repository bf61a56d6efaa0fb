"""What happened to a published repository: a line each time that a version is published, withdrawn or decided on.

Versions themselves are removed after a few publications, and their manifests with them; these lines stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from ensemble.evaluation.metrics_file import read_metrics
from ensemble.export.layouts import CONFIG_FILE, MODEL_NAME
from ensemble.profile.profile import PROFILE_FILE, Profile
from workflows.core import console
from workflows.core.artefacts import read_manifest
from workflows.core.errors import ArtefactError
from workflows.core.lines import append_lines, held_for_lines
from workflows.core.origins import why_stale
from workflows.core.run import Run

__all__ = [
    "HISTORY",
    "PUBLISHED",
    "WITHDRAWN",
    "Happening",
    "history_of",
    "note",
    "note_published",
    "note_withdrawn",
    "utc_now",
    "withdrawn_before",
]

HISTORY = Path(MODEL_NAME, ".history.ndjson")
PUBLISHED, WITHDRAWN = "published", "withdrawn"


class Happening(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line.

    Attributes:
        at: when, in UTC, as text.
        what: published, withdrawn, gate (it has decided) or retrained.
        version: that was published or withdrawn; that was served when the gate decided.
        served: the version that is served from then on; 0: as before.
        run: the run directory.
        export: content of its repo/, which tells it from every other export.
        verdict: RELEASE, HOLD or REJECT of the gate; of a retraining also FAILED.
        why: one sentence.
        newest_event: of the data that the run knows, in UTC, as text; "": unknown.
        cascade: the release of Cascade that exported it.
        metrics: name -> value of the chain in the run's report.
    """

    at: str
    what: str
    version: int = 0
    served: int = 0
    run: str = ""
    export: str = ""
    verdict: str = ""
    why: str = ""
    newest_event: str = ""
    cascade: str = ""
    metrics: dict[str, float] = {}


def utc_now() -> str:
    """As lines have it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def note(repository: Path, happening: Happening) -> None:
    """Add a line; where there is no published repository, or it cannot be written, what happened has happened yet."""
    if not (repository / MODEL_NAME / CONFIG_FILE).is_file():
        return
    path = repository / HISTORY
    try:
        with held_for_lines(path) as file:
            append_lines(file, [msgspec.json.encode(happening)])
    except OSError as error:
        console.say(f"{path} cannot be written ({error.strerror}): `cascade timeline` will not show this")


def history_of(repository: Path) -> list[Happening]:
    """Every line, oldest first; one that a killed process left torn is passed over.

    Raises:
        ArtefactError: the file cannot be read.
    """
    path = repository / HISTORY
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read ({error.strerror})") from error
    found = []
    for line in content.splitlines():
        try:
            found.append(msgspec.json.decode(line, type=Happening))
        except msgspec.DecodeError:
            continue
    return found


def withdrawn_before(repository: Path, export: str) -> Happening | None:
    """The latest withdrawal of a version that had this very export, where there was one.

    Args:
        repository: published.
        export: content of the run's repo/.
    """
    lines = history_of(repository)
    latest = max((line.version for line in lines if line.what == PUBLISHED and line.export == export), default=0)
    withdrawn = (line for line in reversed(lines) if line.what == WITHDRAWN and line.version == latest)
    return next(withdrawn, None)


def note_published(repository: Path, run: Run, version: int, gate: Mapping[str, str]) -> None:
    """Say that a run's export is served from now on: on which data, made by which code, how good in its report.

    Args:
        repository: published.
        run: whose export it is.
        version: its number.
        gate: verdict, why and override, where a gate decided; else empty.
    """
    export = read_manifest(run.folder("repo"))
    happening = Happening(
        utc_now(),
        PUBLISHED,
        version,
        version,
        str(run.root.absolute()),
        export.content,
        gate.get("verdict", ""),
        f"override: {gate['override']}" if gate.get("override") else gate.get("why", ""),
        _newest_event(repository / MODEL_NAME / str(version)),
        export.versions.get("cascade", ""),
        _metrics(run),
    )
    note(repository, happening)


def note_withdrawn(repository: Path, version: int, served: int, why: str) -> None:
    """Say that a version was rolled back to another one, and why."""
    note(repository, Happening(utc_now(), WITHDRAWN, version, served, why=why))


def _newest_event(folder: Path) -> str:
    """That a version knows."""
    path = next(iter(folder.rglob(PROFILE_FILE)), None)
    try:
        newest = Profile.load(path).info.newest_event if path else 0
    except ArtefactError:
        return ""
    return datetime.fromtimestamp(newest / 1e9, timezone.utc).isoformat(timespec="seconds") if newest else ""


def _metrics(run: Run) -> dict[str, float]:
    """Of the chain, at the first cutoff; none where the report is of another export, or there is none."""
    if not run.folder("report").is_dir() or why_stale(run.root, ["report"]) is not None:
        return {}
    try:
        metrics = read_metrics(run.folder("report"))
        values, k = metrics["sources"]["chain"], metrics["cutoffs"][0]
        return {name: float(values[name]["value"]) for name in (f"ndcg@{k}", f"recall@{k}") if name in values}
    except (ArtefactError, KeyError, IndexError, TypeError):
        return {}
