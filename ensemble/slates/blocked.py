"""The items that people have blocked, as a cache of slates tells its readers of them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import msgspec

from cascade_client.slate_entry import BLOCKED, meta_key
from ensemble.serving.repository import blocked_file
from ensemble.slates.cache.base import Cache, Item
from runtime.blocked import Block, blocked_in, read_blocks
from workflows.core.errors import ArtefactError

__all__ = ["copy_blocked", "read_block_file", "write_blocked"]


def copy_blocked(cache: Cache, repository: Path | None) -> None:
    """Let readers of a cache leave out what is blocked in the run or the repository that makes its slates.

    Args:
        cache: it is held.
        repository: None where a server alone is known; what the cache says stays then.

    Raises:
        ArtefactError: the file of blocked items cannot be read.
        ServingError: the cache is away.
    """
    if repository is not None:
        write_blocked(cache, list(blocked_in(read_block_file(blocked_file(repository)))))


def read_block_file(path: Path) -> list[Block]:
    """Every line of a file of blocked items, oldest first; none where there is no file.

    Raises:
        ArtefactError: it cannot be read, or a line says no block.
    """
    try:
        blocks, num_bad = read_blocks(path.read_bytes())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ArtefactError(f"the blocked items in {path} cannot be read ({error.strerror or error})") from error
    if num_bad:
        raise ArtefactError(f"{path} has {num_bad} lines that say no block; remove them, the server passes over them")
    return blocks


def write_blocked(cache: Cache, items: Collection[int | str]) -> None:
    """Write the list of blocked items to a cache where it has another one."""
    value = msgspec.json.encode(list(items)) if items else None
    if cache.get([meta_key(BLOCKED)]) != [value]:
        cache.put([Item(meta_key(BLOCKED), value)])
