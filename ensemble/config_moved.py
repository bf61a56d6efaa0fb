"""Where the keys of older configs are now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.retrieval.config import ExampleKind, RetrievalConfig
from models.retrieval.settled import possible_examples

__all__ = ["new_place"]

# Keys of [retrieval] that each kind of training examples now has, or has not, for itself.
OF_EXAMPLES = (
    *("negatives", "num_uniform_negatives", "all_negatives_up_to", "logq"),
    *("batch_size", "learning_rate", "max_epochs", "patience", "id_dropout", "history_dropout"),
)
RENAMED = {
    "retrieval.rows": "retrieval.examples",
    "ranking.training_rows": "ranking.training_examples",
    "retrieval.sets.up_to_cells": "retrieval.sets_up_to_cells",
    "evaluate.peers": "evaluate.baselines",
}
WHERE: dict[ExampleKind, str] = {
    "windows": "for events with timestamps",
    "sets": "for users whose events have no order",
    "events": "for single events",
}


def new_place(key: str, tree: Mapping[str, Any]) -> str | None:
    """One sentence on where a key that is unknown now went; None where it never was one.

    Args:
        key: full path of the unknown key.
        tree: the config as it was read: tells which kinds of training examples it can come to.
    """
    if key in RENAMED:
        return f"{key} is now {RENAMED[key]}; rename it"
    section, _, name = key.rpartition(".")
    if section != "retrieval" or name not in OF_EXAMPLES:
        return None
    kinds = [kind for kind in _kinds(tree) if hasattr(getattr(RetrievalConfig(), kind), name)]
    if not kinds:
        return f"{key} is gone: training on sets has every item as a negative and no history dropout; drop it"
    if len(kinds) == 1:
        return f"{key} is now retrieval.{kinds[0]}.{name} ({WHERE[kinds[0]]}); move it there"
    places = " or ".join(f"retrieval.{kind}.{name} ({WHERE[kind]})" for kind in kinds)
    return f"{key} is now {places}; move it there"


def _kinds(tree: Mapping[str, Any]) -> tuple[ExampleKind, ...]:
    data, features, retrieval = (tree.get(name, {}) for name in ("data", "features", "retrieval"))
    examples = retrieval.get("examples") if isinstance(retrieval, Mapping) else None
    return possible_examples(
        examples if isinstance(examples, str) and examples in WHERE else "auto",
        ordered=isinstance(data, Mapping) and bool(data.get("timestamp")),
        has_context=isinstance(features, Mapping) and bool(features.get("context")),
    )
