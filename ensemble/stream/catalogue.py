"""The keys by which the live state knows the items of a catalogue, where their ids are text."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from runtime.stream.items import KEY_ROWS_FILE, KEYS_FILE
from runtime.stream.keys import item_keys
from workflows.core.errors import DataError

__all__ = ["write_keys"]


def write_keys(ids: Path, target: Path) -> None:
    """Write the keys of a catalogue, ascending, or the item row of each.

    Args:
        ids: data/ids/items.npy, fixed-width UTF-8.
        target: the file of the chain, KEYS_FILE or KEY_ROWS_FILE.

    Raises:
        DataError: two ids have one key.
    """
    raw = np.load(ids, mmap_mode="r", allow_pickle=False)
    keys = item_keys(raw.astype(object))
    rows = np.argsort(keys, kind="stable").astype(np.int32)
    keys = keys[rows]
    if same := np.flatnonzero(keys[1:] == keys[:-1]).tolist():
        first, second = (raw[rows[place]].decode() for place in (same[0], same[0] + 1))
        raise DataError(
            f"items: the ids '{first}' and '{second}' have the same 64-bit hash, by which live events know items, so "
            "that an event of one would count for the other; rename one of them, or leave out [stream]"
        )
    assert target.name in (Path(KEYS_FILE).name, Path(KEY_ROWS_FILE).name)
    np.save(target, keys if target.name == Path(KEYS_FILE).name else rows)
