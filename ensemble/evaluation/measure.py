"""Sources x metrics with paired bootstrap intervals, and their differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from ensemble.evaluation.queries import Queries
from models.dataset.features import State
from models.metrics.bootstrap import Estimate, Resamples, estimates
from models.metrics.ranking import coverage, novelty, per_user

__all__ = ["Columns", "Slates", "compare", "estimated", "measure_source", "summarise"]

Columns = dict[str, NDArray[np.float64]]
SEPARATOR = "|"


class Slates(msgspec.Struct, frozen=True):
    """The slates of one source for all queries.

    Attributes:
        source: its name.
        rows: int32 [Q, K] item rows, best first, padded right with -1.
        scores: float32 [Q, K].
        seconds: wall time of all answers, without fitting.
    """

    source: str
    rows: NDArray[np.int32]
    scores: NDArray[np.float32]
    seconds: float


def measure_source(slates: Slates, queries: Queries, state: State, cutoffs: Sequence[int]) -> Columns:
    """Accuracy and novelty of one source: metric -> float64 [Q]."""
    accuracy = per_user(slates.rows, queries.indptr, queries.rows, cutoffs)
    return accuracy | novelty(slates.rows, np.asarray(state.popularity), cutoffs)


def summarise(
    columns: Mapping[str, Columns],
    slates: Mapping[str, Slates],
    num_eligible: int,
    cutoffs: Sequence[int],
    resamples: Resamples,
) -> dict[str, dict[str, Estimate]]:
    """Means and intervals of every source: source -> metric -> Estimate; coverage has no interval.

    A resample of users repeats some and lacks others, so it covers fewer items than the users themselves: no interval
    is given where it would not hold the value.
    """
    table = estimated(columns, resamples)
    for source, answer in slates.items():
        covered = coverage(answer.rows, num_eligible, cutoffs)
        table[source] |= {name: Estimate(value) for name, value in covered.items()}
    return table


def compare(columns: Mapping[str, Columns], subject: str, resamples: Resamples) -> dict[str, dict[str, Estimate]]:
    """Paired differences: other source -> metric -> subject minus other, with its interval."""
    ours = columns[subject]
    others = {name: values for name, values in columns.items() if name != subject}
    gaps = {name: {m: ours[m] - values[m] for m in ours if m in values} for name, values in others.items()}
    return estimated(gaps, resamples)


def estimated(columns: Mapping[str, Columns], resamples: Resamples) -> dict[str, dict[str, Estimate]]:
    """Means and intervals of source -> metric -> float64 [Q], all in one bootstrap, so that they share their draws."""
    flat = {f"{source}{SEPARATOR}{name}": v for source, table in columns.items() for name, v in table.items()}
    table: dict[str, dict[str, Estimate]] = {source: {} for source in columns}
    for key, estimate in estimates(flat, resamples).items():
        source, name = key.split(SEPARATOR)
        table[source][name] = estimate
    return table
