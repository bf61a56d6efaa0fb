"""The context that a request may carry, as fields of a form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console.catalogue import text
from runtime.spec import FLOATS, ChainSpec, Tensor
from runtime.step import load_array

__all__ = ["ContextInput", "context_inputs"]

MOST_OPTIONS = 200


@dataclass(frozen=True)
class ContextInput:
    """One column of the context.

    Attributes:
        name: of the column.
        kind: "choice", "text" or "number".
        options: the values that the chain knows; some of them where `kind` is "text".
        hint: what to type; empty: nothing is to be said.
    """

    name: str
    kind: str
    options: tuple[str, ...]
    hint: str


def context_inputs(folder: Path, spec: ChainSpec) -> tuple[ContextInput, ...]:
    """The context columns of a compiled chain, in its order."""
    path = folder / "encoders" / "context.json"
    features = json.loads(path.read_text())["features"] if path.is_file() else []
    by_column = {feature["column"]: feature for feature in features}
    return tuple(_input(folder / "encoders", column, by_column.get(column.name, {})) for column in spec.context_columns)


def _input(folder: Path, column: Tensor, feature: dict[str, Any]) -> ContextInput:
    if "keys" in feature:
        keys = sorted({text(key) for key in load_array(folder / feature["keys"]).tolist()} - {""})
        if len(keys) <= MOST_OPTIONS:
            return ContextInput(column.name, "choice", tuple(keys), "")
        return ContextInput(column.name, "text", tuple(keys[:MOST_OPTIONS]), f"one of {len(keys):,} values")
    if column.dtype == "BYTES":
        return ContextInput(column.name, "text", (), "")
    edges = ", ".join(f"{edge:g}" for edge in feature.get("boundaries", ()))
    hint = f"in steps at {edges}" if edges else "a number" if column.dtype in FLOATS else "a whole number"
    return ContextInput(column.name, "number", (), hint)
