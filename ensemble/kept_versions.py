"""The versions of a published repository that requests in a log name: `publish` keeps them, so that they replay.

A repository says which folders hold such requests: `cascade serve --log` and `cascade log collect` leave a claim each.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from runtime.log.folder import OPEN
from runtime.log.identity import MODEL_NAME, chain_key
from runtime.log.segments import chain_keys
from workflows.core.artefacts import MANIFEST_NAME

__all__ = [
    "CLAIMS",
    "claim",
    "claimed_keys",
    "claims_of",
    "is_published",
    "note_removed",
    "removals",
    "removed_at",
    "version_folders",
]

CLAIMS, REMOVED = ".logs", ".removed.json"
HIDDEN_SUFFIX = ".withdrawn"


def claim(repository: Path, folder: Path, keys: Collection[str]) -> bool:
    """Say that a folder holds requests that these chains answered; without any, the claim ends.

    Args:
        repository: published; one that is not has no versions to keep.
        folder: LOG or MON.
        keys: of chains, see `runtime.log.identity`.

    Returns:
        Whether the repository knows it now; false where it is not published, gone, or cannot be written.
    """
    if not is_published(repository):
        return False
    name = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
    path = repository / MODEL_NAME / CLAIMS / f"{name}.json"
    record = json.dumps({"folder": str(folder.absolute()), "chain_keys": sorted(keys)}, indent=1)
    with suppress(OSError):
        if path.is_file() and path.read_text() == record:
            return True
        if not keys and not (folder / OPEN).is_dir():
            path.unlink(missing_ok=True)
            return True
        path.parent.mkdir(exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}.new")
        fresh.write_text(record)
        fresh.replace(path)
        return True
    return False


def claimed_keys(repository: Path) -> dict[str, str]:
    """The chains that some folder holds requests of, each with that folder."""
    found: dict[str, str] = {}
    for path in sorted((repository / MODEL_NAME / CLAIMS).glob("*.json")):
        try:
            record: dict[str, Any] = json.loads(path.read_text())
            folder, keys = record["folder"], record["chain_keys"]
        except (OSError, ValueError, KeyError):
            continue
        found |= dict.fromkeys(keys, folder)
        # What nobody has collected yet.
        found |= dict.fromkeys(chain_keys(Path(folder)), folder)
    return found


def version_folders(repository: Path) -> Iterator[tuple[int, str, Path]]:
    """Every version that is there, a withdrawn one included: its number, the key of its chain, its folder."""
    for path in sorted((repository / MODEL_NAME).iterdir()):
        number = path.name.removeprefix(".").removesuffix(HIDDEN_SUFFIX)
        if path.is_dir() and number.isdigit():
            yield int(number), chain_key(path), path


def note_removed(repository: Path, version: int) -> None:
    """Remember when a version was removed."""
    path = repository / MODEL_NAME / REMOVED
    known = _removed(path)
    fresh = path.with_suffix(".new")
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    fresh.write_text(json.dumps({**known, str(version): now}, indent=1))
    fresh.replace(path)


def removed_at(repository: Path, version: int) -> str:
    """When a version was removed, as an ISO text; "" where nobody knows."""
    return removals(repository).get(str(version), "")


def removals(repository: Path) -> dict[str, str]:
    """Versions that were removed, and when, as an ISO text."""
    return _removed(repository / MODEL_NAME / REMOVED)


def claims_of(repository: Path) -> list[Path]:
    """The folders of logs that say that they hold requests of a repository."""
    found = []
    for path in sorted((repository / MODEL_NAME / CLAIMS).glob("*.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            found.append(Path(json.loads(path.read_text())["folder"]))
    return found


def _removed(path: Path) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def is_published(repository: Path) -> bool:
    """Whether each version has a manifest of its own."""
    return any((repository / MODEL_NAME).glob(f"*/{MANIFEST_NAME}"))
