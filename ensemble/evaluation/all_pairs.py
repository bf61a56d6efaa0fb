"""Quality over all relevant test pairs; those of items outside the catalogue count as misses for every source.

Where no items table gives the catalogue, it is the items of train and valid, and what was first seen in the test split
cannot be recommended. The figures over the catalogue alone say how good the slates are; these say what users get.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from ensemble.evaluation.measure import Slates, compare, estimated
from ensemble.evaluation.queries import Queries
from models.metrics.bootstrap import Resamples
from models.metrics.ranking import per_user

__all__ = ["measure_all_pairs"]


def measure_all_pairs(
    slates: Mapping[str, Slates], queries: Queries, cutoffs: Sequence[int], resamples: Resamples
) -> dict[str, Any]:
    """The record "all_pairs" of metrics.json.

    Args:
        slates: source -> its answers; "chain" among them.
        queries: the Q queries, with how many relevant items outside the catalogue each has.
        cutoffs: every k.
        resamples: the plan of the bootstrap.

    Returns:
        "num_pairs", "num_outside", "share_outside", "num_users_only_outside" and, where a pair is outside, "num_users",
        "sources" and "chain_minus" as in metrics.json. Users whose every relevant item is outside have 0 everywhere;
        where users were drawn, as large a share of them is.
    """
    facts = queries.facts
    inside, outside = facts["num_relevant_pairs"], facts["num_relevant_pairs_outside_catalogue"]
    only = facts["num_users_with_relevant_items_only_outside"]
    record: dict[str, Any] = {
        "num_pairs": inside + outside,
        "num_outside": outside,
        "share_outside": outside / max(inside + outside, 1),
        "num_users_only_outside": only,
    }
    if not outside or not len(queries):
        return record
    zeros = np.zeros(round(only * len(queries) / facts["num_users_with_relevant_items"]))
    columns = {
        source: {
            name: np.concatenate([values, zeros])
            for name, values in per_user(
                answer.rows, queries.indptr, queries.rows, cutoffs, unreachable=queries.outside
            ).items()
        }
        for source, answer in slates.items()
    }
    return record | {
        "num_users": len(queries) + len(zeros),
        "sources": msgspec.to_builtins(estimated(columns, resamples)),
        "chain_minus": msgspec.to_builtins(compare(columns, "chain", resamples)),
    }
