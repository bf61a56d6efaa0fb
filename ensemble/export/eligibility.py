"""Which items may be shown at all: in stock, and every rule of the config holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ensemble.config import Config, FilterRule
from models.index.stage import Serving
from workflows.core.errors import ConfigError
from workflows.core.run import Run

__all__ = ["asked_of_index", "eligible_items", "pack", "popularity_order"]

COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
    "in": lambda column, values: pc.is_in(column, value_set=values),
    "not_in": lambda column, values: pc.invert(pc.is_in(column, value_set=values)),
}


def eligible_items(items: Path, config: Config) -> NDArray[np.bool_]:
    """Whether each item may be shown.

    Args:
        items: data/items.parquet, by item_row.
        config: `data.stock` names the column whose false means out of stock; `chain.rules` see raw values.

    Returns:
        bool [N].

    Raises:
        ConfigError: a rule names a column that the items lack, or a value that its column cannot be compared with.
    """
    names = set(pq.read_schema(items).names)
    num_items = pq.read_metadata(items).num_rows
    eligible = np.ones(num_items, bool)
    if config.data.stock is not None:
        column = _column(items, names, config.data.stock, "data.stock")
        eligible &= pc.fill_null(pc.cast(column, pa.bool_()), True).to_numpy()
    for number, rule in enumerate(config.chain.rules):
        key = f"chain.rules[{number}]"
        eligible &= _holds(_column(items, names, rule.column, f"{key}.column"), rule, key)
    return eligible


def asked_of_index(run: Run, config: Config) -> Serving:
    """What the chain of this config asks of the index: candidates and filters."""
    chain, stock = config.chain, config.data.stock
    return Serving(
        num_candidates=chain.num_candidates,
        filter_seen=chain.filter_seen,
        eligible=lambda: eligible_items(run.folder("data") / "items.parquet", config),
        mark={"stock": stock, "rules": msgspec.to_builtins(chain.rules)},
    )


def pack(eligible: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Pack bool [N] -> uint8 [ceil(N / 8)], lowest bit first, as FAISS reads it."""
    return np.packbits(eligible, bitorder="little")


def popularity_order(eligible: NDArray[np.bool_], popularity: NDArray) -> NDArray[np.int32]:
    """Eligible item rows, most popular first, ties by row; int32."""
    rows = np.flatnonzero(eligible).astype(np.int32)
    ordered: NDArray[np.int32] = rows[np.lexsort((rows, -popularity[rows]))]
    return ordered


def _column(items: Path, names: set[str], name: str, key: str) -> pa.ChunkedArray:
    if name not in names:
        raise ConfigError(f"{key} = {name!r} is no column of the items; they have {', '.join(sorted(names))}")
    return pq.read_table(items, columns=[name])[name]


def _holds(column: pa.ChunkedArray, rule: FilterRule, key: str) -> NDArray[np.bool_]:
    try:
        value = pa.array(rule.value) if isinstance(rule.value, list) else pa.scalar(rule.value)
        if isinstance(rule.value, list):
            value = value.cast(column.type)
        result = pc.and_(COMPARE[rule.op](column, value), pc.is_valid(column))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        raise ConfigError(
            f"{key}.value = {rule.value!r} cannot be compared with the items' {rule.column!r} of type {column.type}"
        ) from None
    return np.asarray(pc.fill_null(result, False).to_numpy(), bool)
