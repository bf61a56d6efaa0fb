"""The catalogue by the keys of the stream: which row an item of an event has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.ids import UNKNOWN, IdMap
from runtime.spec import ChainSpec
from runtime.step import load_array

__all__ = ["KEYS_FILE", "KEY_ROWS_FILE", "CatalogueKeys", "key_files"]

IDS_FILE = "ids/items.npy"
# Of text ids: their keys, ascending, and the item row of each.
KEYS_FILE, KEY_ROWS_FILE = "ids/item_keys.npy", "ids/item_key_rows.npy"


def key_files(spec: ChainSpec) -> tuple[str, ...]:
    """The files that `CatalogueKeys` opens."""
    return (IDS_FILE,) if spec.item_id_dtype == "INT64" else (KEYS_FILE, KEY_ROWS_FILE)


class CatalogueKeys:
    """Item rows by key.

    Args:
        folder: a compiled chain.
        spec: its chain.json.
    """

    def __init__(self, folder: Path, spec: ChainSpec) -> None:
        files = [load_array(folder / name) for name in key_files(spec)]
        # A key of an integer id is the id; -1 is one like any other: records are not padded with it.
        self._map = IdMap(files[0], padded=False)
        self._rows = files[1] if len(files) > 1 else None
        self._keys = files[0]

    def keys(self, rows: NDArray) -> NDArray[np.int64]:
        """Keys of item rows, none negative; of the same shape."""
        if self._rows is None:
            return np.asarray(self._keys[rows], np.int64)
        return np.asarray(self._keys[np.argsort(self._rows)[rows]], np.int64)

    def rows(self, keys: NDArray[np.int64]) -> NDArray[np.int32]:
        """Item rows of keys, of the same shape; UNKNOWN where the catalogue lacks the item."""
        found = self._map.rows("item_id", keys)
        if self._rows is None or not len(self._rows):
            return found
        return np.where(found == UNKNOWN, found, self._rows[np.maximum(found, 0)])
