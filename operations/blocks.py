"""`cascade block` and `unblock`: an item leaves every slate of a running server at once, whatever version it serves."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from ensemble.serving.repository import any_repository, blocked_file, served_file
from ensemble.slates.blocked import read_block_file, write_blocked
from ensemble.slates.cache.open import open_cache
from runtime.blocked import ITEM_IDS_FILE, Block, blocked_in
from workflows.core import console
from workflows.core.disk import writing
from workflows.core.errors import ArtefactError, CascadeError
from workflows.core.lines import append_lines, held_for_lines

__all__ = ["MOST_BLOCKED", "Change", "blocked_now", "change_blocks", "say", "tell_cache"]

# Each is looked at for each user of a request; more are a matter of stock, or of a rule of the config.
MOST_BLOCKED = 1000


class Change(NamedTuple):
    """What a command did.

    Attributes:
        path: the file of blocked items.
        changed: the items of which it now says something else than before.
        blocked: all that are blocked now, oldest first.
        unknown: changed items that the served version does not have.
    """

    path: Path
    changed: list[int | str]
    blocked: list[Block]
    unknown: list[int | str]


def blocked_now(target: Path) -> list[Block]:
    """The blocked items of a run or a published repository, oldest first.

    Raises:
        ArtefactError: there is none, or its file cannot be read.
    """
    return list(blocked_in(read_block_file(blocked_file(any_repository(target)))).values())


def change_blocks(target: Path, items: Sequence[str], *, block: bool, reason: str = "") -> Change:
    """Block items, or end that; running servers know within a second.

    Args:
        target: a run or a published repository.
        items: raw ids as text.
        block: whether they are to be blocked.
        reason: why, kept with the time.

    Raises:
        ArtefactError: there is no such repository, or its file cannot be read.
        CascadeError: an item is no id of the data, or too many would be blocked; or the file cannot be written.
    """
    repository = any_repository(target)
    ids, path = _item_ids(repository), blocked_file(repository)
    wanted = [_raw(item, is_text=ids.dtype.kind == "S") for item in dict.fromkeys(items)]
    with writing("block" if block else "unblock", path.parent), held_for_lines(path) as file:
        before = blocked_in(read_block_file(path))
        changed = [item for item in wanted if (item in before) != block]
        if block and len(before) + len(changed) > MOST_BLOCKED:
            raise CascadeError(
                f"block: at most {MOST_BLOCKED:,} items can be blocked, and {len(before):,} are; say the others with "
                "item events, a rule of the config, or unblock some"
            )
        at = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        append_lines(file, [msgspec.json.encode(Block(at, item, block, reason)) for item in changed])
        blocked = blocked_in(read_block_file(path))
    known = set(ids.tolist())
    return Change(path, changed, list(blocked.values()), [item for item in changed if _stored(item) not in known])


def tell_cache(cache_url: str, change: Change) -> None:
    """Let the readers of a cache of slates know what is blocked.

    Raises:
        CascadeError: the cache is away or full.
    """
    with open_cache(cache_url) as cache:
        write_blocked(cache, [block.item_id for block in change.blocked])


def say(change: Change, *, block: bool) -> None:
    """Tell people what a command did."""
    word = "blocked" if block else "not blocked any more"
    was = "were blocked already" if block else "were not blocked"
    console.say(f"{change.path}: {_listed(change.changed)} {word}" if change.changed else f"{change.path}: they {was}")
    if change.unknown:
        console.say(f"the served version has no item {_listed(change.unknown)}; a later one may")


def _listed(items: Sequence[int | str]) -> str:
    return ", ".join(map(str, items))


def _stored(item: int | str) -> int | bytes:
    return item.encode() if isinstance(item, str) else item


def _item_ids(repository: Path) -> np.ndarray:
    found = served_file(repository, ITEM_IDS_FILE)
    if found is None:
        raise ArtefactError(
            f"{repository} has no {ITEM_IDS_FILE}: a chain of the layout 'merlin' cannot leave items out; serve the "
            "layout 'fused' or 'ensemble'"
        )
    ids: np.ndarray = np.load(found, mmap_mode="r", allow_pickle=False)
    return ids


def _raw(item: str, *, is_text: bool) -> int | str:
    if is_text:
        return item
    try:
        number = int(item)
        np.int64(number)
    except (ValueError, OverflowError):
        raise CascadeError(f"block: the items of this chain have integer ids, got '{item}'") from None
    return number
