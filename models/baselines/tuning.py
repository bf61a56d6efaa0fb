"""Tuning of a baseline on valid: one parameter at a time over a written grid, within a budget of seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from models.baselines.base import Baseline
from models.metrics.ranking import per_user

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["METRIC", "Grid", "Params", "Search", "Trial", "Validation", "search"]

TUNING_CUTOFF = 20
METRIC = f"ndcg@{TUNING_CUTOFF}"

Params = dict[str, Any]
Grid = Mapping[str, Sequence[Any]]


class Validation(msgspec.Struct, frozen=True):
    """What was known after train, and which new positives the drawn users have in valid.

    Attributes:
        seen: [U, N], 1.0 for the positives of train.
        popularity: float32 [N], their counts.
        users: int64 [Q], rows of users with a new positive in valid, ascending.
        indptr, rows: the new positives of user q: rows[indptr[q] : indptr[q + 1]].
    """

    seen: csr_matrix
    popularity: npt.NDArray[np.float32]
    users: npt.NDArray[np.int64]
    indptr: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]

    def measure(self, model: Baseline) -> float:
        """Fit on train and return the mean METRIC over the users, every unseen item being a candidate."""
        model.fit(self.seen, self.popularity)
        everything = np.ones(self.seen.shape[1], bool)
        slates, _ = model.recommend(self.users, TUNING_CUTOFF, eligible=everything, seen=self.seen)
        return float(per_user(slates, self.indptr, self.rows, [TUNING_CUTOFF])[METRIC].mean())


class Trial(msgspec.Struct, frozen=True):
    """One point of the grid: its parameters, METRIC on valid, and seconds."""

    params: Params
    value: float
    seconds: float


class Search(msgspec.Struct, frozen=True):
    """The trials of a search in order, and whether it ended by itself or by its budget."""

    trials: list[Trial]
    ended: bool

    @property
    def best(self) -> Params:
        """Parameters of the best trial, the first of equal ones."""
        return max(self.trials, key=lambda trial: trial.value).params


def search(grid: Grid, measure: Callable[[Params], float], budget_s: float) -> Search:
    """Coordinate search: from the first value of every parameter, try all values of one with the others at their best.

    It goes round the parameters until a round finds nothing better, so not every point of the grid is tried.

    Args:
        grid: parameter -> its values, the starting one first.
        measure: quality of a point, larger is better.
        budget_s: no further point is tried after as many seconds; the first one always is.
    """
    started_at = time.perf_counter()
    done: dict[tuple[Any, ...], Trial] = {}
    best = {name: values[0] for name, values in grid.items()}

    def tried(params: Params) -> Trial | None:
        key = tuple(params.values())
        if key not in done:
            if done and time.perf_counter() - started_at > budget_s:
                return None
            begun_at = time.perf_counter()
            done[key] = Trial(params, measure(params), time.perf_counter() - begun_at)
        return done[key]

    leader = tried(best)
    improved = True
    while improved and leader is not None:
        improved = False
        for name, values in grid.items():
            for value in values:
                trial = tried(leader.params | {name: value})
                if trial is None:
                    return Search(list(done.values()), ended=False)
                if trial.value > leader.value:
                    leader, improved = trial, True
    return Search(list(done.values()), ended=True)
