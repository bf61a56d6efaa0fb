"""The report when no test user has a relevant item: the reason, the way out, and null for every number."""

from __future__ import annotations

from typing import Any

import numpy as np

from ensemble.config import Config
from ensemble.evaluation.measure import Slates
from ensemble.evaluation.queries import Queries
from workflows.tables.config import SplitConfig

__all__ = ["no_slates", "nothing_measured", "why_unmeasured"]

SOURCES = ("popularity", "item_knn", "retrieval", "chain")
METRICS = ("recall", "capped_recall", "ndcg", "mrr", "hit_rate", "coverage", "novelty")
NULL = {"value": None, "low": None, "high": None}


def why_unmeasured(config: Config, queries: Queries) -> str | None:
    """Why no slate can be judged and what to do about it, in one sentence; None where slates can be."""
    facts = queries.facts
    if facts["num_users_measured"]:
        return None
    num_events, num_positive = facts["num_test_events"], facts["num_positive_test_events"]
    if not num_events:
        return f"No slate could be judged: the test split is empty; {_more_test_events(config.split)}."
    if not num_positive:
        label = facts["relevant_label"]
        return (
            f"No slate could be judged: none of the {num_events:,} test events has {label} = 1; "
            f"{_more_test_events(config.split)}, or choose another label (evaluate.relevant_label)."
        )
    outside, repeated = facts["num_positive_events_outside_catalogue"], facts["num_repeated_pairs_left_out"]
    reasons, advice = [], []
    if outside:
        reasons.append(f"{outside:,} are of items outside the catalogue")
        advice.append("name the catalogue in data.items, since without it the items of train and valid are all")
    if repeated:
        reasons.append(
            f"{repeated:,} user-item pairs are of items that their user had before, which are not shown again"
        )
        advice.append("set chain.filter_seen = false if they may be, or leave repeated events out of the tables")
    return (
        f"No slate could be judged: of the {num_positive:,} positive test events {' and '.join(reasons)}; "
        f"{', or '.join(advice)}."
    )


def nothing_measured(cutoffs: list[int]) -> dict[str, Any]:
    """The metrics of slates, every number null, for a run without queries."""
    table = {source: {f"{name}@{k}": dict(NULL) for name in METRICS for k in cutoffs} for source in SOURCES}
    empty = ("chain_minus", "retrieval_minus", "slices", "seconds", "users_per_second")
    return {"sources": table, **{key: {} for key in empty}, "notes": []}


def no_slates(source: str, longest: int) -> Slates:
    """The empty slates of a source without queries."""
    return Slates(source, np.zeros((0, longest), np.int32), np.zeros((0, longest), np.float32), 0.0)


def _more_test_events(split: SplitConfig) -> str:
    """Advice on how to get a larger or another test split."""
    if split.by == "time":
        return f"raise split.test_fraction (now {split.test_fraction:g})"
    if split.by == "leave_last_out":
        return "split.by = 'leave_last_out' tests users of three events or more; give more events, or use 'time'"
    if split.by == "column":
        return f"give such events '{split.column}' = 'test'"
    return "give such events in split.test"
