"""Which items may be shown at all: in stock, and every rule of the config holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ensemble.config import Config, FilterRule
from ensemble.export.comparisons import compare, in_words, way_out
from models.index.stage import Serving
from workflows.core.errors import ConfigError, DataError
from workflows.core.run import Run

__all__ = [
    "Met",
    "allowed_items",
    "column_of",
    "conditions",
    "count_words",
    "eligible_items",
    "holds",
    "index_workload",
    "pack",
    "popularity_order",
]

MAX_SHOWN = 5


class Met(msgspec.Struct, frozen=True):
    """One condition on the items: its words, which items meet it, bool [N], and the column it reads."""

    words: str
    holds: NDArray[np.bool_]
    column: pa.ChunkedArray
    name: str


def eligible_items(items: Path, config: Config) -> NDArray[np.bool_]:
    """Whether each item may be shown.

    Args:
        items: data/items.parquet, by item_row.
        config: `data.stock` names the column whose false means out of stock; `chain.rules` see raw values.

    Returns:
        bool [N], true somewhere.

    Raises:
        ConfigError: a rule names a column that the items lack, or a value that its column cannot be compared with.
        DataError: no item may be shown, so that every slate would be empty.
    """
    num_items = pq.read_metadata(items).num_rows
    eligible = np.ones(num_items, bool)
    met = list(conditions(items, config))
    for condition in met:
        eligible &= condition.holds
    if not eligible.any():
        never = [f"column '{c.name}' holds {_content(c.column)}" for c in met if not c.holds.any()]
        raise DataError(
            f"items: every slate would be empty, since none of the {num_items:,} items may be shown: "
            f"{_words(met)}; {'; '.join([*never, 'change data.stock or chain.rules, or the items'])}"
        )
    return eligible


def allowed_items(items: Path, config: Config) -> NDArray[np.bool_]:
    """Whether the rules alone allow each item, in stock or not; bool [N]."""
    allowed = np.ones(pq.read_metadata(items).num_rows, bool)
    for condition in _rules(items, config):
        allowed &= condition.holds
    return allowed


def count_words(items: Path, config: Config) -> str:
    """How many items meet each condition, such as "41 are in stock, 3 meet chain.rules[0] (brand == 'x')"."""
    return _words(list(conditions(items, config)))


def index_workload(run: Run, config: Config) -> Serving:
    """What the index must serve for the chain of this config: candidates and filters."""
    chain, stock = config.chain, config.data.stock
    return Serving(
        num_candidates=chain.num_candidates,
        filter_seen=chain.filter_seen,
        eligible=lambda: eligible_items(run.folder("data") / "items.parquet", config),
        inputs={"stock": stock, "rules": msgspec.to_builtins(chain.rules)},
        device_precision=chain.device_precision,
    )


def pack(eligible: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Pack bool [N] -> uint8 [ceil(N / 8)], lowest bit first, as FAISS reads it."""
    return np.packbits(eligible, bitorder="little")


def popularity_order(wanted: NDArray[np.bool_], popularity: NDArray) -> NDArray[np.int32]:
    """Wanted item rows, most popular first, ties by row; int32."""
    rows = np.flatnonzero(wanted).astype(np.int32)
    ordered: NDArray[np.int32] = rows[np.lexsort((rows, -popularity[rows]))]
    return ordered


def conditions(items: Path, config: Config) -> Iterator[Met]:
    """What the items must meet: the stock first, then the rules in order; Raises as `eligible_items`."""
    if (stock := config.data.stock) is not None:
        column = column_of(items, stock, "data.stock")
        in_stock = np.asarray(pc.fill_null(pc.cast(column, pa.bool_()), True).to_numpy(), bool)
        yield Met(f"in stock (data.stock = '{stock}')", in_stock, column, stock)
    yield from _rules(items, config)


def _rules(items: Path, config: Config) -> Iterator[Met]:
    for number, rule in enumerate(config.chain.rules):
        key = f"chain.rules[{number}]"
        column = column_of(items, rule.column, f"{key}.column")
        words = f"allowed by {key} ({rule.column} {rule.op} {in_words(rule.value)})"
        yield Met(words, holds(column, rule, key), column, rule.column)


def _words(met: list[Met]) -> str:
    return ", ".join(f"{int(condition.holds.sum()):,} are {condition.words}" for condition in met)


def column_of(items: Path, name: str, key: str) -> pa.ChunkedArray:
    """A column of the items.

    Raises:
        ConfigError: they have none that is called so; `key` is the key of the config that names it.
    """
    names = set(pq.read_schema(items).names)
    if name not in names:
        raise ConfigError(f"{key} = {name!r} is no column of the items; they have {', '.join(sorted(names))}")
    return pq.read_table(items, columns=[name])[name]


def _content(column: pa.ChunkedArray) -> str:
    """What a column holds, for a rule that nothing meets: a range, or a few values."""
    if pa.types.is_nested(column.type):
        return f"values of type {column.type}"
    values = pc.drop_null(column)
    if not len(values):
        return "nulls alone"
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        ends = pc.min_max(values).as_py()
        return f"{ends['min']} to {ends['max']}"
    distinct = pc.unique(values)
    some = ", ".join(map(in_words, distinct[:MAX_SHOWN].to_pylist()))
    return some if len(distinct) <= MAX_SHOWN else f"{some} and {len(distinct) - MAX_SHOWN:,} other values"


def holds(column: pa.ChunkedArray, rule: FilterRule, key: str) -> NDArray[np.bool_]:
    """Of which items a rule holds, bool [N].

    Raises:
        ConfigError: the column cannot be compared with the value; `key` is the rule's in the config.
    """
    if column.null_count == len(column):  # of a type that nothing decided
        return np.zeros(len(column), bool)
    try:
        result = pc.and_(compare(column, rule.op, rule.value), pc.is_valid(column))
    except (pa.ArrowException, OverflowError):
        raise ConfigError(
            f"{key}.value = {in_words(rule.value)} cannot be compared with the items' {rule.column!r} of type "
            f"{column.type}, which holds {_content(column)}; {way_out(column.type)}"
        ) from None
    return np.asarray(pc.fill_null(result, False).to_numpy(), bool)
