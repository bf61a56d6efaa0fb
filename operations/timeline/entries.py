"""One list of what happened to a served chain: from the repository, its blocked items, and the folders of its log."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from ensemble.history import PUBLISHED, WITHDRAWN, Happening, history_of
from ensemble.kept_versions import claims_of, is_published, removals, version_folders
from ensemble.serving.repository import any_repository, blocked_file
from ensemble.slates.blocked import read_block_file
from operations.folder import CHAINS, STATUS, read_json
from operations.signals.accepted import accepted
from operations.signals.kinds import KINDS
from operations.signals.table import Row, load
from runtime.blocked import Block
from workflows.core.artefacts import read_manifest
from workflows.core.errors import ArtefactError

__all__ = ["Entry", "Timeline", "timeline"]

DAY_S = 86_400


@dataclass(frozen=True)
class Entry:
    """One thing that happened.

    Attributes:
        at: in UTC: YYYY-MM-DDTHH:MM:SS+00:00, of alarms a day, YYYY-MM-DD.
        what: published, withdrawn, removed, gate, retrained, blocked, unblocked, alarm, alarm over or accepted.
        of: the version, item or signal.
        why: a sentence; "" where nobody gave one.
    """

    at: str
    what: str
    of: str
    why: str

    def as_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(frozen=True)
class Timeline:
    """All that is known.

    Attributes:
        entries: oldest first.
        notes: sentences on what could not be read.
        repositories: published ones, whose served version can be taken back.
    """

    entries: list[Entry]
    notes: list[str]
    repositories: list[Path]


def timeline(place: Path) -> Timeline:
    """Read it.

    Args:
        place: a published repository, whose logs are found by what they claim; or MON, which names the repositories of
            its requests.

    Raises:
        ArtefactError: it is neither.
    """
    if (place / STATUS).is_file() or (place / CHAINS).is_dir():
        folders, repositories = [place], _repositories(place)
    else:
        repository = any_repository(place)
        repositories = [repository]
        folders = [folder for folder in claims_of(repository) if (folder / CHAINS).is_dir()]
    found = Timeline([], [], [place for place in repositories if is_published(place)])
    for readers, places in ((OF_REPOSITORIES, repositories), (OF_LOGS, folders)):
        for read, each in itertools.product(readers, places):
            _gather(found, read, each)
    found.entries.sort(key=lambda entry: entry.at[:19])
    return found


def _gather(found: Timeline, read: Callable[[Path], Iterator[Entry]], place: Path) -> None:
    try:
        found.entries.extend(read(place))
    except ArtefactError as error:
        found.notes.append(str(error))


def _repositories(folder: Path) -> list[Path]:
    """That answered the requests of MON and are still there."""
    named = (
        Path(place)
        for path in sorted((folder / CHAINS).glob("*.json"))
        for place in read_json(path, {}).get("repositories", {}).values()
    )
    return list(dict.fromkeys(place for place in named if place.is_dir()))


def _lines(repository: Path) -> Iterator[Entry]:
    for line in history_of(repository):
        of = f"version {line.version}" if line.version else Path(line.run).name
        yield Entry(line.at, line.what, of, _sentence(line))


def _sentence(line: Happening) -> str:
    if line.what == WITHDRAWN:
        return f"version {line.served} is served again" + (f": {line.why}" if line.why else "")
    decided = f"{line.verdict}: {line.why}" if line.verdict else line.why
    if line.what == PUBLISHED and line.verdict not in ("", "RELEASE"):
        decided = f"published against {line.verdict}, {line.why}"
    if line.what != PUBLISHED:
        return f"{decided} ({line.run})"
    facts = [f"from {line.run}", *([f"data up to {line.newest_event}"] if line.newest_event else ())]
    facts += [f"{name} {value:.4f}" for name, value in line.metrics.items()]
    facts += [f"Cascade {line.cascade}"] if line.cascade else []
    return ", ".join(facts) + (f"; {decided}" if decided else "")


def _older_versions(repository: Path) -> Iterator[Entry]:
    """Those that were published by a release that wrote no lines, at the time of their files."""
    if not is_published(repository):
        return
    lines = history_of(repository)
    known = {what: {line.version for line in lines if line.what == what} for what in (PUBLISHED, WITHDRAWN)}
    for number, _, folder in sorted(version_folders(repository)):
        at = folder.stat()
        if number not in known[PUBLISHED]:
            run = read_manifest(folder).info.get("run", "a run")
            yield Entry(_text(at.st_mtime), PUBLISHED, f"version {number}", f"from {run}")
        if folder.name.startswith(".") and number not in known[WITHDRAWN]:
            yield Entry(_text(at.st_ctime), WITHDRAWN, f"version {number}", "")


def _removals(repository: Path) -> Iterator[Entry]:
    for version, at in removals(repository).items():
        yield Entry(at, "removed", f"version {version}", "its files, by a later publication")


def _blocks(repository: Path) -> Iterator[Entry]:
    blocks: Sequence[Block] = read_block_file(blocked_file(repository))
    for block in blocks:
        yield Entry(block.at, "blocked" if block.blocked else "unblocked", f"item {block.item_id}", block.reason)


def _alarms(folder: Path) -> Iterator[Entry]:
    """When each signal left its limits, and the first day that it was within them again."""
    days: dict[tuple[str, str], list[Row]] = {}
    for row in load(folder):
        of = row.chain_key if KINDS[row.measured.signal].of_version else ""
        days.setdefault((row.name, of), []).append(row)
    for (name, _), rows in days.items():
        begun = -1
        for row in rows:
            if row.is_alarm and row.since != begun:
                begun, limit = row.since, row.limit_high if row.state == "high" else row.limit_low
                side = "above" if row.state == "high" else "below"
                yield Entry(_day(begun), "alarm", name, f"{row.measured.value:.4g}, {side} {limit:.4g}")
            elif not row.is_alarm and begun >= 0:
                begun = -1
                yield Entry(_day(row.day), "alarm over", name, f"{row.measured.value:.4g}")


def _accepted(folder: Path) -> Iterator[Entry]:
    for record in accepted(folder):
        yield Entry(record["accepted_at"], "accepted", record["name"], f"{record['value']:.4g}: {record['reason']}")


def _day(number: int) -> str:
    return _text(number * DAY_S)[:10]


def _text(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, timezone.utc).isoformat(timespec="seconds")


OF_REPOSITORIES: tuple[Callable[[Path], Iterator[Entry]], ...] = (_lines, _older_versions, _removals, _blocks)
OF_LOGS: tuple[Callable[[Path], Iterator[Entry]], ...] = (_alarms, _accepted)
