"""Rows of the gate on the candidate's export beside the served version: what tells a wrong export from a retraining."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from models.index.meta import IndexMeta
from operations.gate.candidate import Candidate
from operations.gate.differences import Difference, differences
from operations.gate.exported import Exported, read_exported, vectors_lost
from operations.gate.rows import Row
from operations.gate.same_questions import BothAnswers, ask_both
from operations.gate.served import ServedVersion
from workflows.core.run import Run

__all__ = ["Compared", "compare_exports", "exported_rows"]

MEANT = "more than retrainings differ by; where it is meant, name '{name}' in gate.expected"


class Compared(NamedTuple):
    """Both versions' files and answers."""

    ours: Exported
    theirs: Exported
    asked: BothAnswers | None
    found: tuple[Difference, ...]


def compare_exports(candidate: Candidate, served: ServedVersion) -> Compared:
    """Read both and ask them the same.

    Raises:
        ArtefactError: a file is altered, or the candidate cannot be asked.
    """
    ours = read_exported(candidate.version, candidate.export)
    theirs = read_exported(served.version, served.manifest)
    asked = ask_both(candidate, ours, theirs)
    found = differences(ours, theirs, asked, dict(_search(ours, candidate.run)))
    return Compared(ours, theirs, asked, tuple(found))


def exported_rows(compared: Compared, command: str, expected: tuple[str, ...]) -> Iterator[Row]:
    """One row a comparison, the cause first, and one for each thing that could not be compared.

    Args:
        compared: both versions.
        command: that shows more of it, before the family.
        expected: names of comparisons that may differ.
    """
    for side, exported in (("candidate", compared.ours), ("served version", compared.theirs)):
        if exported.lacks:
            yield Row(f"profile of the {side}", None, None, None, exported.lacks)
    if compared.asked is not None and isinstance(compared.asked.served, str):
        yield Row("answers of the served version", None, None, None, compared.asked.served)
    for found in compared.found:
        if found.name not in expected:
            yield _row(found, command)


def _row(found: Difference, command: str) -> Row:
    name = f"{found.name}: {found.words}"
    value, (differs, broken) = found.value, found.limits
    shows = f"{command} {found.family}"
    if value <= differs:
        return Row(name, value, differs, True, family=found.family)
    if value > broken:
        return Row(name, value, broken, False, family=found.family, command=shows)
    return Row(name, value, differs, None, MEANT.format(name=found.name), family=found.family, command=shows)


def _search(ours: Exported, run: Run) -> Iterator[tuple[str, float]]:
    """What the search has lost of what the run has made."""
    yield "vectors", vectors_lost(ours, run)
    meta = IndexMeta.load(run.folder("index"))
    yield "index", max(0.0, 1 - meta.index_recall_at_k)
