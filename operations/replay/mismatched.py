"""Requests that were not answered again as they had been, kept in MON until they are."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from operations.folder import MISMATCHED, Change, held, read_json
from workflows.core.disk import writing

__all__ = ["note_requests", "noted_requests"]


def noted_requests(folder: Path) -> set[tuple[str, int]]:
    """Ids and attempts of the requests that differed when they were asked last.

    Raises:
        ArtefactError: the file cannot be read.
    """
    return {(name, attempt) for name, attempt in read_json(folder / MISMATCHED, [])}


def note_requests(folder: Path, asked: Collection[tuple[str, int]], differing: Collection[tuple[str, int]]) -> None:
    """Note which of the requests that were asked differ; of the others nothing is known anew.

    Raises:
        ArtefactError: MON is held, or the file cannot be read.
        CascadeError: the disk is full.
    """
    with writing("replay", folder), held(folder, "changed"):
        before = noted_requests(folder)
        after = (before - set(asked)) | set(differing)
        if after != before:
            change = Change(folder)
            change.place_json(folder / MISMATCHED, sorted(after))
            change.commit()
