"""Which of the stock and the rules an item meets, and what may be shown without one of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ensemble.config import ChainConfig, Config
from ensemble.export.eligibility import conditions
from operations.why.served import Served
from workflows.core.artefacts import read_manifest
from workflows.core.errors import CascadeError
from workflows.tables.config import DataConfig

__all__ = ["Condition", "Rules", "read_rules", "rules_of"]


@dataclass(frozen=True)
class Condition:
    """The stock, or a rule.

    Attributes:
        words: such as "allowed by chain.rules[0] (brand == 'x')".
        holds: which items meet it, bool [N].
        is_stock: whether it is the stock.
        values: what its column holds, an Arrow array by item row.
        column: its name.
    """

    words: str
    holds: NDArray[np.bool_]
    is_stock: bool
    values: Any
    column: str

    def value(self, row: int) -> str:
        """What an item has there, in words."""
        found = self.values[row].as_py()
        return "null" if found is None else repr(found)


@dataclass(frozen=True)
class Rules:
    """The conditions of an export.

    Attributes:
        conditions: the stock first; empty where nothing is asked of items, or `unknown` says why nobody knows.
        unknown: why the conditions cannot be named; empty where they can.
    """

    conditions: tuple[Condition, ...]
    unknown: str = ""

    def broken_by(self, row: int) -> list[Condition]:
        """The conditions that an item does not meet."""
        return [condition for condition in self.conditions if not condition.holds[row]]

    def without(self, removed: Condition, *, in_stock: bool = True) -> NDArray[np.int64]:
        """The item rows that may be shown without a rule and may not with it; in_stock: whether the stock counts."""
        others = [c.holds for c in self.conditions if c is not removed and (in_stock or not c.is_stock)]
        return np.flatnonzero(np.all([~removed.holds, *others], axis=0))


def rules_of(served: Served) -> Rules:
    """The conditions of what is served, from the manifest and the items of its run."""
    if served.root is None:
        return Rules((), "give --run RUN, the run that it was exported from, and the rule is named")
    items = served.root / "data" / "items.parquet"
    try:
        # A published version's manifest says less than that of the export.
        exported = read_manifest(served.root / "repo")
        if not items.is_file() or read_manifest(served.root / "data").content != exported.after.get("data"):
            return Rules((), f"{items} is not the table that this was exported from, so that the rule is not known")
        return read_rules(items, _config(exported.config))
    except (CascadeError, OSError, msgspec.ValidationError) as error:
        return Rules((), f"the rule is not known: {error}")


def read_rules(items: Path, config: Config) -> Rules:
    """The conditions of a config, on a table of items.

    Raises:
        ConfigError: a rule does not fit the table.
    """
    stock = config.data.stock is not None
    met = enumerate(conditions(items, config))
    return Rules(tuple(Condition(m.words, m.holds, stock and n == 0, m.column, m.name) for n, m in met))


def _config(record: dict[str, Any]) -> Config:
    return Config(data=msgspec.convert(record["data"], DataConfig), chain=msgspec.convert(record["chain"], ChainConfig))
