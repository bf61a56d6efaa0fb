"""What MON knows of the chains that its requests were answered by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ensemble.kept_versions import claim
from operations.folder import CHAINS, Change, parquet_files, read_json

__all__ = ["chains", "drop_unnamed", "keys_in"]


def chains(folder: Path) -> Iterator[dict[str, Any]]:
    """The chains of MON: chain_key, model_version, repositories by layout, environments by id, first_at, last_at."""
    for path in sorted((folder / CHAINS).glob("*.json")):
        yield read_json(path, {})


def keys_in(folder: Path, repository: str) -> set[str]:
    """The keys of the chains of a repository that requests of MON name."""
    return {chain["chain_key"] for chain in chains(folder) if repository in chain["repositories"].values()}


def drop_unnamed(folder: Path) -> None:
    """Forget the chains of which MON has no request any more, so that their versions need not be kept."""
    gone = [chain for chain in chains(folder) if not parquet_files(folder, [chain["chain_key"]])]
    change = Change(folder)
    for chain in gone:
        change.remove(folder / CHAINS / f"{chain['chain_key'][:16]}.json")
    change.commit()
    for repository in {place for chain in gone for place in chain["repositories"].values()}:
        claim(Path(repository), folder, keys_in(folder, repository))
