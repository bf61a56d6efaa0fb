"""The arrays of the items that the rules of slates read, from columns of the items table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import log
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ensemble.config import ChainConfig, Config
from ensemble.config_order import OrderConfig, end_of
from ensemble.export.eligibility import column_of, holds
from models.dataset.features import load_features
from runtime.encoders import FIRST
from workflows.core.errors import ConfigError
from workflows.core.run import Run

__all__ = [
    "ALIKE_FILE",
    "CAP_FILE",
    "FLOOR_FILE",
    "TAKEN_FILE",
    "VALUES_FILE",
    "boosts_file",
    "codes_of",
    "slate_files",
]

BOOSTS_FILE, CAP_FILE, FLOOR_FILE = "order/boosts_{}.npy", "order/cap_{}.npy", "order/floor_{}.npy"
ALIKE_FILE, VALUES_FILE, TAKEN_FILE = "order/alike.npy", "order/values.npy", "order/taken.npy"


def slate_files(run: Run, config: Config) -> Mapping[str, Callable[[], NDArray]]:
    """The arrays of the items that the rules read, by file, each made when it is asked for.

    Raises (each of them):
        ConfigError: a rule names a column that the items lack, or a value that its column cannot be compared with.
    """
    items, chain = run.folder("data") / "items.parquet", config.chain
    ends = {end_of(boost.until) for boost in chain.boosts}
    boosts = {boosts_file(end): partial(_boosts, items, chain, end) for end in ends}
    caps = {
        CAP_FILE.format(n): partial(codes_of, items, cap.column, f"chain.caps[{n}].column")
        for n, cap in enumerate(chain.caps)
    }
    floors = {FLOOR_FILE.format(n): partial(_kind, items, chain, n) for n in range(len(chain.floors))}
    alike = {ALIKE_FILE: partial(_alike, items, chain.order)} if chain.order.alike else {}
    return {**boosts, **caps, **floors, **alike, **_calibration_files(run, items, chain.order)}


def _calibration_files(run: Run, items: Path, order: OrderConfig) -> Mapping[str, Callable[[], NDArray]]:
    if order.calibrate is None:
        return {}
    values = partial(codes_of, items, order.calibrate.column, "chain.order.calibrate.column")
    return {VALUES_FILE: values, TAKEN_FILE: lambda: _by_code(load_features(run).items["item_id"], values())}


def _by_code(item_codes: NDArray, values: NDArray[np.int32]) -> NDArray[np.int32]:
    """Of each code of an item in a history, the code of its value, [K]; -1: no item of the catalogue, or no value."""
    found = np.full(int(np.max(item_codes, initial=FIRST)) + 1, -1, np.int32)
    known = np.flatnonzero(item_codes >= FIRST)
    found[item_codes[known]] = values[known]
    return found


def boosts_file(end: int) -> str:
    """What the boosts that end at an instant add."""
    return BOOSTS_FILE.format(end)


def _boosts(items: Path, chain: ChainConfig, end: int) -> NDArray[np.float32]:
    """What the boosts of one end add to the utility of each item, [N]."""
    total = np.zeros(pq.read_metadata(items).num_rows)
    for number, boost in enumerate(chain.boosts):
        if end_of(boost.until) != end:
            continue
        key = f"chain.boosts[{number}]"
        held = holds(column_of(items, boost.column, f"{key}.column"), boost, key)
        total += held * (log(boost.times) if boost.times is not None else boost.add or 0.0)
    return total.astype(np.float32)


def codes_of(items: Path, name: str, key: str) -> NDArray[np.int32]:
    """A code of each item's value in a column, [N]; -1 for a null.

    Raises:
        ConfigError: the items have no such column, or one whose values are lists; `key` names it in the config.
    """
    column = column_of(items, name, key)
    if pa.types.is_nested(column.type):
        raise ConfigError(f"{key} = {name!r} holds values of type {column.type}; name a column of single values")
    codes = pc.fill_null(column.combine_chunks().dictionary_encode().indices, -1)
    return np.asarray(codes.to_numpy(zero_copy_only=False), np.int32)


def _alike(items: Path, order: OrderConfig) -> NDArray[np.int32]:
    """Of each item, the codes of its values in the columns by which items are alike, [N, M]."""
    return np.stack([codes_of(items, name, "chain.order.alike") for name in order.alike], axis=1)


def _kind(items: Path, chain: ChainConfig, number: int) -> NDArray[np.bool_]:
    floor, key = chain.floors[number], f"chain.floors[{number}]"
    return holds(column_of(items, floor.column, f"{key}.column"), floor, key)
