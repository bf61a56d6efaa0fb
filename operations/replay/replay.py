"""`cascade replay`: ask logged requests again and compare the answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operations.folder import CHAINS, held, read_json
from operations.replay.compare import Difference, compare
from operations.replay.errors import NotReplayableError
from operations.replay.mismatched import note_requests, noted_requests
from operations.replay.process import VersionProcess, started
from operations.replay.requests import Row, latest, named, questions, rows_of
from operations.replay.translate import Rows
from operations.replay.versions import Version, find_given, find_logged

__all__ = ["Replayed", "chain_of", "grouped", "replay", "version_of"]

GONE = "it was pruned, or its user was erased"


@dataclass
class Replayed:
    """What came of it.

    Attributes:
        num_requests: that were asked again.
        differing: request -> the first difference of its first user that has one.
        rounded: requests whose scores differ by no more than rounding, in an environment that is another one.
        left_out: why -> requests that could not be asked again.
        versions: which answered, as a person names them.
        overlap: mean share of the items that both answers have.
        own: requests that the files that had answered them were asked for again.
    """

    num_requests: int = 0
    differing: dict[tuple[str, int], Difference] = field(default_factory=dict)
    rounded: set[tuple[str, int]] = field(default_factory=set)
    left_out: dict[str, int] = field(default_factory=dict)
    versions: list[str] = field(default_factory=list)
    overlap: float = 1.0
    own: set[tuple[str, int]] = field(default_factory=set)


def replay(
    folder: Path,
    *,
    request_id: str = "",
    last: int = 0,
    mismatched: bool = False,
    version: int | None = None,
    run: Path | None = None,
) -> Replayed:
    """Ask requests of MON again, and note those that differ.

    Args:
        folder: MON.
        request_id: of one request; or
        last: how many of the latest; or
        mismatched: those that differed when they were asked last; there may be none.
        version: asked instead of the one that answered.
        run: a run directory or a model repository to ask instead of the one that answered.

    Raises:
        NotReplayableError: the requests, or the version, cannot be asked again.
        ArtefactError: MON or the version cannot be read, or is altered.
    """
    replayed = Replayed()
    with held(folder, "read for a replay"):
        noted = noted_requests(folder) if mismatched else set()
        rows = _rows_of(folder, request_id, last, noted)
        chains = {row.values["chain_key"]: chain_of(folder, row.values["chain_key"]) for row in rows}
    gone = noted - {row.request for row in rows}
    if gone:
        replayed.left_out[GONE] = len(gone)
    groups = grouped(rows)
    good = {key: [row for row in members if not row.why_not] for key, members in groups.items()}
    _leave_out(replayed, rows)
    if rows and not any(good.values()):
        why = next(iter(replayed.left_out))
        raise NotReplayableError(f"nothing can be asked again: {why} ({sum(replayed.left_out.values())} requests)")
    overlaps: list[float] = []
    for (key, layout, number), members in good.items():
        if members:
            found = version_of(chains[key], layout, number, version, run)
            _ask(replayed, found, members, chains[key], layout, overlaps)
    replayed.overlap = float(np.mean(overlaps)) if overlaps else 1.0
    note_requests(folder, replayed.own | gone, replayed.own & replayed.differing.keys())
    return replayed


def _rows_of(folder: Path, request_id: str, last: int, noted: Collection[tuple[str, int]]) -> list[Row]:
    if last:
        return latest(folder, last)
    if request_id:
        return named(folder, request_id)
    return [row for row in rows_of(folder, [name for name, _ in noted]) if row.request in noted]


def chain_of(folder: Path, key: str) -> dict[str, Any]:
    """What MON keeps of a chain.

    Raises:
        NotReplayableError: it keeps nothing.
    """
    record: dict[str, Any] = read_json(folder / CHAINS / f"{key[:16]}.json", None)
    if record is None:
        raise NotReplayableError(f"{folder / CHAINS} says nothing of the chain {key[:16]}; put a copy of it back")
    return record


def grouped(rows: Sequence[Row]) -> dict[tuple[str, str, int], list[Row]]:
    """Rows by the chain, layout and version that answered."""
    groups: dict[tuple[str, str, int], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.values["chain_key"], row.values["layout"], row.values["model_version"]].append(row)
    return groups


def _leave_out(replayed: Replayed, rows: Sequence[Row]) -> None:
    whys = {row.request: row.why_not for row in rows if row.why_not}
    for why in whys.values():
        replayed.left_out[why] = replayed.left_out.get(why, 0) + 1


def version_of(
    chain: Mapping[str, Any], layout: str, number: int, wanted: int | None = None, run: Path | None = None
) -> Version:
    """The version to ask.

    Args:
        chain: see `chain_of`.
        layout: of the request.
        number: of the version that answered it.
        wanted: see `replay`.
        run: see `replay`.

    Raises:
        NotReplayableError, ArtefactError: it is not there.
    """
    repository = Path(chain["repositories"][layout])
    if run is not None:
        return find_given(run, layout, chain["chain_key"], wanted)
    if wanted is not None and wanted != number:
        return find_given(repository, layout, chain["chain_key"], wanted)
    return find_logged(repository, chain["chain_key"], number)


def _ask(
    replayed: Replayed,
    version: Version,
    rows: Sequence[Row],
    chain: Mapping[str, Any],
    layout: str,
    overlaps: list[float],
) -> None:
    """Ask one version, and note what differs."""
    translated = _translated(version, chain, layout, rows[0].values["model_version"])
    replayed.versions.append(f"version {version.number} ({'ensemble' if version.steps else 'fused'})")
    requests = {row.request for row in rows}
    replayed.num_requests += len(requests)
    if version.chain_key == chain["chain_key"]:
        replayed.own |= requests
    with started(version) as worker:
        for batch, question in questions(rows):
            answer = worker.ask(translated.question(question))
            for place, row in enumerate(batch):
                now = {name: values[place] for name, values in answer.items()}
                found = compare(row.values, translated.answer(now))
                overlaps.append(1.0 if found is None else found.overlap)
                if found is not None:
                    _note(replayed, row, found, worker, chain)


def _translated(version: Version, chain: Mapping[str, Any], layout: str, number: int) -> Rows:
    if version.chain_key == chain["chain_key"]:
        return Rows.same()
    logged = find_logged(Path(chain["repositories"][layout]), chain["chain_key"], number)
    arrays: list[tuple[NDArray, NDArray]] = [(logged.ids(name), version.ids(name)) for name in ("users", "items")]
    return Rows(*arrays)


def _note(replayed: Replayed, row: Row, found: Difference, worker: VersionProcess, chain: Mapping[str, Any]) -> None:
    before = chain["environments"].get(row.values["env_id"], {})
    if found.is_rounding and before != worker.environment:
        replayed.rounded.add(row.request)
    else:
        replayed.differing.setdefault(row.request, found)
