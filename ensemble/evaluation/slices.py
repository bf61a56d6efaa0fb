"""Every source on a part of the users or of the relevant items, with intervals: where a mean hides a loss.

warm_users, cold_users       with and without a positive event before the test split
history_1_4, history_5_19 .. users by the number of items that they had by then
COLUMN=VALUE                 users by a column of the users table (evaluate.segments)
warm_items, cold_items       relevant items with and without a positive event by then
head_items, tail_items       of the warm items the fifth with the most positive events, and the others
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ensemble.evaluation.measure import Columns, Slates, estimated
from ensemble.evaluation.queries import Queries
from models.baselines.popularity import popularity_rank
from models.dataset.features import State
from models.metrics.bootstrap import Resamples
from models.metrics.ranking import per_user

__all__ = ["measure_slices", "user_slices"]

METRICS = ("recall", "ndcg", "share_of_best")
HISTORY_FROM = (1, 5, 20, 100)
HEAD_SHARE = 0.2
MAX_VALUES = 12
OTHER = "other"


def measure_slices(
    slates: Mapping[str, Slates],
    columns: Mapping[str, Columns],
    queries: Queries,
    state: State,
    segments: Mapping[str, NDArray],
    cutoffs: Sequence[int],
    resamples: Resamples,
) -> dict[str, dict[str, Any]]:
    """Recall, NDCG and, where it is known, the share of the best possible, of every slice that is not empty.

    Args:
        slates: source -> its answers.
        columns: source -> metric -> float64 [Q], of the same answers.
        queries: the Q queries.
        state: what is known before the test split.
        segments: column of the users table -> its values as text, by user_row.
        cutoffs: every k.
        resamples: the plan of the bootstrap.

    Returns:
        slice -> {"num_users", source -> metric -> {"value", "low", "high"}}. The item slices keep only such items as
        relevant, and only users who have one.
    """
    table = {}
    wanted = [f"{name}@{k}" for name in METRICS for k in cutoffs]
    for name, members in user_slices(queries, state, segments):
        if members.any():
            part = {s: {m: values[m][members] for m in wanted if m in values} for s, values in columns.items()}
            table[name] = _record(int(members.sum()), part, resamples)
    owner = np.repeat(np.arange(len(queries)), np.diff(queries.indptr))
    for name, kept in _item_slices(queries, state):
        if kept.any():
            with_one, counts = np.unique(owner[kept], return_counts=True)
            indptr, rows = np.append(0, np.cumsum(counts)), queries.rows[kept]
            found = {s: per_user(answer.rows[with_one], indptr, rows, cutoffs) for s, answer in slates.items()}
            part = {s: {m: values[m] for m in wanted if m in values} for s, values in found.items()}
            table[name] = _record(len(with_one), part, resamples)
    return table


def user_slices(
    queries: Queries, state: State, segments: Mapping[str, NDArray]
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Names and members, bool [Q]; see the module."""
    length = np.diff(state.seen_indptr)[queries.user_rows]
    yield "warm_users", length > 0
    yield "cold_users", length == 0
    for start, following in zip(HISTORY_FROM, (*HISTORY_FROM[1:], None), strict=True):
        if following is None:
            yield f"history_{start}_up", length >= start
        else:
            yield f"history_{start}_{following - 1}", (length >= start) & (length < following)
    for column, by_user in segments.items():
        values = by_user[queries.user_rows].astype(str)
        names, counts = np.unique(values, return_counts=True)
        frequent = names[np.lexsort((names, -counts))[:MAX_VALUES]]
        for name in sorted(frequent.tolist()):
            yield f"{column}={name}", values == name
        yield f"{column}={OTHER}", ~np.isin(values, frequent)


def _item_slices(queries: Queries, state: State) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Names and which relevant pairs they keep, bool like queries.rows."""
    popularity = np.asarray(state.popularity)
    warm = popularity > 0
    head = popularity_rank(popularity) < np.ceil(HEAD_SHARE * warm.sum())
    for name, items in {"warm": warm, "cold": ~warm, "head": warm & head, "tail": warm & ~head}.items():
        yield f"{name}_items", items[queries.rows]


def _record(num_users: int, part: Mapping[str, Columns], resamples: Resamples) -> dict[str, Any]:
    return {"num_users": num_users, **msgspec.to_builtins(estimated(part, resamples))}
