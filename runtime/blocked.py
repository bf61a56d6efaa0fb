"""Items that people have blocked: no slate shows them, from a second after, whatever version is served."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.errors import BadRequest
from runtime.ids import IdMap
from runtime.request import Parsed
from runtime.step import load_array

__all__ = [
    "BLOCKED_FILE",
    "BLOCKED_VARIABLE",
    "ITEM_IDS_FILE",
    "LOOK_EACH_S",
    "Block",
    "BlockedItems",
    "blocked_in",
    "read_blocks",
]

# The file beside the models, and what tells the server's processes that it is elsewhere.
BLOCKED_FILE, BLOCKED_VARIABLE = "blocked.ndjson", "CASCADE_BLOCKED"
ITEM_IDS_FILE = "ids/items.npy"
# How often a process looks at the file: a look costs two microseconds.
LOOK_EACH_S = 0.2
NO_ROWS = np.zeros(0, np.int32)


@dataclass(frozen=True)
class Block:
    """One line of the file: an item is blocked, or not any more.

    Attributes:
        at: when, in UTC, as text.
        item_id: raw id.
        blocked: whether it is blocked from then on.
        reason: why.
    """

    at: str
    item_id: int | str
    blocked: bool
    reason: str


def read_blocks(content: bytes) -> tuple[list[Block], int]:
    """Every line of the file, oldest first, and how many were none; what follows the last line end is not yet there."""
    blocks, num_bad = [], 0
    for line in content[: content.rfind(b"\n") + 1].splitlines():
        try:
            said = json.loads(line)
            item, blocked = said["item_id"], said["blocked"]
            if type(item) not in (int, str) or type(blocked) is not bool:
                raise ValueError
            blocks.append(Block(str(said["at"]), item, blocked, str(said.get("reason", ""))))
        except (ValueError, KeyError, TypeError):
            num_bad += 1
    return blocks, num_bad


def blocked_in(blocks: Iterable[Block]) -> dict[int | str, Block]:
    """The items that are blocked now, in the order in which they were, each with the line that says so."""
    blocked: dict[int | str, Block] = {}
    for block in blocks:
        if not block.blocked:
            blocked.pop(block.item_id, None)
        else:
            blocked.setdefault(block.item_id, block)
    return blocked


class BlockedItems:
    """The blocked items of a served chain, looked up again when the file has changed.

    A file that cannot be read leaves what was known as it is.

    Args:
        path: the file; it may come later.
        chain: a folder with the chain's item ids.
        log: takes a sentence for the server's log.
    """

    def __init__(self, path: Path, chain: Path, log: Callable[[str], None]) -> None:
        self._path, self._log = path, log
        self._items = IdMap(load_array(chain / ITEM_IDS_FILE), padded=True)
        self._rows = NO_ROWS
        self._look_at, self._seen, self._said = 0.0, (0, 0, 0), ""

    @classmethod
    def of_server(cls, models: Path, chain: Path, log: Callable[[str], None]) -> BlockedItems | None:
        """Those of a model in a server: the file beside the models, or the one that CASCADE_BLOCKED names.

        Args:
            models: the model repository.
            chain: what the model opens.
            log: see above.

        Returns:
            None for a model that has no item ids, since it does not read the request.
        """
        if not (chain / ITEM_IDS_FILE).is_file():
            return None
        return cls(Path(os.environ.get(BLOCKED_VARIABLE) or models / BLOCKED_FILE), chain, log)

    def rows(self) -> NDArray[np.int32]:
        """int32 [X], rows of the blocked items of the catalogue, ascending."""
        if (now := time.monotonic()) >= self._look_at:
            self._look_at = now + LOOK_EACH_S
            self._look()
        return self._rows

    def leave_out(self, parsed: Parsed) -> Parsed:
        """A request that excludes the blocked items too, as of the last call of `rows`."""
        rows = self._rows
        if not len(rows):
            return parsed
        of_each = np.broadcast_to(rows, (len(parsed.user_row), len(rows)))
        return replace(parsed, exclude=np.concatenate([parsed.exclude, of_each], axis=1))

    def _look(self) -> None:
        try:
            found = self._path.stat()
            seen = (found.st_ino, found.st_size, found.st_mtime_ns)
            if seen != self._seen:
                self._rows = self._read()
                self._seen = seen
            self._say("")
        except FileNotFoundError:
            self._rows, self._seen = NO_ROWS, (0, 0, 0)
        except OSError as error:
            self._say(f"the blocked items in {self._path} cannot be read ({error.strerror or error}); those known stay")

    def _read(self) -> NDArray[np.int32]:
        blocks, num_bad = read_blocks(self._path.read_bytes())
        if num_bad:
            self._log(f"{num_bad} lines of {self._path} say no block and are passed over")
        is_text = self._items.ids.dtype.kind == "S"
        ids = [item for item in blocked_in(blocks) if isinstance(item, str) == is_text]
        values = np.array(ids, object) if is_text else np.array(ids, np.int64)
        try:
            rows = self._items.rows("item_id", values)
        except BadRequest as error:
            self._log(f"{self._path}: {error}")
            return self._rows
        known: NDArray[np.int32] = np.unique(rows[rows >= 0])
        return known

    def _say(self, problem: str) -> None:
        """Log a problem once, as long as it lasts."""
        if problem and problem != self._said:
            self._log(problem)
        self._said = problem
