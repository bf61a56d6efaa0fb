"""Where an item is lost, by brute force over the artefacts of a run, and by how little that could be otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ensemble.export.parity import PLAIN, BruteForce
from runtime.index.rounding import SCORE_STEP, quantise
from runtime.ranker.pairs import NEIGHBOUR_SCORE, TOWER_SCORE
from runtime.spec import ChainSpec
from runtime.steps.merge import MERGED_STEP
from runtime.steps.rank import RANKING_STEP
from workflows.core.run import Run

__all__ = ["Expected", "Reasons"]

# The scores of the two sources that every chain has, by the name of the source.
SCORES = dict(zip(PLAIN, (TOWER_SCORE, NEIGHBOUR_SCORE), strict=True))


class Expected(NamedTuple):
    """What brute force says of an item.

    Attributes:
        lost_at: as `cascade why` names it; empty where it is shown.
        rank: among the candidates, 0 for an item that is none.
        margin: the least by which a score that decides this differs from the one that it is compared with.
    """

    lost_at: str
    rank: int
    margin: float


class Reasons:
    """Answers for one known user, without a context, at a time.

    Args:
        run: whose artefacts are read.
        chain_folder: the compiled chain.
        spec: its sizes.
        eligible: bool [N].
    """

    def __init__(self, run: Run, chain_folder: Path, spec: ChainSpec, eligible: NDArray[np.bool_]) -> None:
        self._spec, self._eligible = spec, eligible
        self._oracle = BruteForce(run, chain_folder, spec, eligible)

    def of_user(self, user: int, rows: NDArray[np.int64]) -> list[Expected]:
        """Where each of some items is lost on its way to a user.

        Args:
            user: a user row.
            rows: item rows.
        """
        inputs, allowed = self._oracle.inputs(user), self._oracle.allowed(user)
        scores = self._oracle.scores(user, inputs)
        count = self._spec.num_candidates
        union, source_margins = self._union(scores, allowed)
        merged = quantise(self._oracle.merged(scores), MERGED_STEP)
        order = union[np.lexsort((union, -merged[union]))]
        kept = self._kept(scores, allowed, order)
        others = order[~np.isin(order, kept)][: max(count - len(kept), 0)]
        candidates = np.sort(np.concatenate([kept, others])) if len(order) > count else np.sort(order)
        named = {name: scores[name][candidates] for name in SCORES.values()}
        logits = quantise(self._oracle.logits(inputs, candidates, named)[:, 0], RANKING_STEP)
        ranked = candidates[np.lexsort((candidates, -logits))]
        by_row = dict(zip(candidates.tolist(), logits.tolist(), strict=True))
        found = []
        for row in rows.tolist():
            if not self._eligible[row] or not allowed[row]:
                found.append(Expected("seen" if self._eligible[row] else "eligibility", 0, np.inf))
                continue
            margin = min(source_margins[row], _margin(merged, others, order, row))
            if row not in by_row:
                found.append(Expected("merge" if row in union else "sources", 0, margin))
                continue
            rank, size = 1 + ranked.tolist().index(row), self._spec.slate_size
            compared = {*ranked[size - 1 : size + 1].tolist(), *ranked[max(rank - 2, 0) : rank + 1].tolist()} - {row}
            edge = [by_row[other] for other in compared]
            margin = min([margin, *(abs(value - by_row[row]) for value in edge)])
            found.append(Expected("" if rank <= size else "slate", rank, margin))
        return found

    def _union(self, scores: dict[str, NDArray], allowed: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray]:
        """The C best of each source, and how far each item is from the edge of those that it could join or leave."""
        count, parts = self._spec.num_candidates, []
        margins = np.full(len(allowed), np.inf)
        for source in self._spec.sources:
            if not (source.name in SCORES or source.weight or source.quota):
                continue
            values = scores[SCORES.get(source.name, source.name)]
            usable = allowed & np.isfinite(values)
            if source.name == "neighbours":
                usable &= values > 0
            rows = np.flatnonzero(usable)
            rounded = quantise(values[rows], SCORE_STEP)
            best = np.lexsort((rows, -rounded))
            parts.append(rows[best[:count]])
            if len(rows) > count:
                edge = rounded[best[count - 1 : count + 1]]
                margins[rows] = np.minimum(margins[rows], np.abs(rounded[:, None] - edge).max(axis=1))
        return np.unique(np.concatenate(parts)), margins

    def _kept(self, scores: dict[str, NDArray], allowed: NDArray[np.bool_], order: NDArray) -> NDArray[np.int64]:
        """The rows that quotas keep."""
        kept = []
        for source in self._spec.sources:
            if source.quota:
                values = scores[SCORES.get(source.name, source.name)]
                rows = np.flatnonzero(allowed & np.isfinite(values))
                kept.append(rows[np.lexsort((rows, -quantise(values[rows], SCORE_STEP)))][: source.quota])
        return np.intersect1d(np.concatenate(kept), order) if kept else np.zeros(0, np.int64)


def _margin(merged: NDArray, others: NDArray, order: NDArray, row: int) -> float:
    """How far the merged score of an item is from that of the last that goes on, or of the first that does not."""
    if len(order) <= len(others) or not len(others):
        return float("inf")
    first_out = order[~np.isin(order, others)]
    edge = merged[[others[-1], *first_out[:1]]]
    return float(np.abs(edge - merged[row]).max())
