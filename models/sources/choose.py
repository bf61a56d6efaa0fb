"""Which sources earn a place among the candidates: recall on the valid split, with an interval over its users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.metrics.bootstrap import Resamples, estimates
from models.neighbours.merged import MergedRetriever
from models.retrieval.validation import ValidationSet
from models.sources.base import NOT_MEANT, Fitted
from models.sources.meta import PlaceTried

__all__ = ["Candidates", "Place", "earns_a_place", "recall_of"]

BLOCK_CELLS = 20_000_000
NUM_RESAMPLES = 1_000


class Place(msgspec.Struct, frozen=True):
    """The place of a source.

    Attributes:
        weight: of its score in the merged one.
        quota: share of the candidates that are its best.
    """

    weight: float = 0.0
    quota: float = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether the source is not served."""
        return not (self.weight or self.quota)


class Candidates:
    """The candidates of validation users under any choice of sources.

    Args:
        users: V validation users.
        retriever: towers and item-item lists as of the end of the train split.
        embedded: float32 [V, D], the users' queries.
        count: C, candidates a user.
    """

    def __init__(self, users: ValidationSet, retriever: MergedRetriever, embedded: NDArray, count: int) -> None:
        self.users, self._retriever, self._embedded = users, retriever, embedded
        self.count = min(count, retriever.tower.item_embeddings.shape[0])

    def recall(self, placed: Sequence[tuple[Fitted, Place]]) -> NDArray[np.float64]:
        """Recall@C of every user with these sources beside towers and lists, float64 [V]."""
        found = np.zeros(len(self.users))
        for positions, merged in self._merged():
            scores = [fitted.scores(self._embedded[positions]) for fitted, _ in placed]
            for (_, place), of_source in zip(placed, scores, strict=True):
                if place.weight:
                    merged = merged + place.weight * np.where(np.isfinite(of_source), of_source, 0)
            for at, user in enumerate(positions.tolist()):
                kept = [
                    _best(np.broadcast_to(s, merged.shape)[at], merged[at], round(place.quota * self.count))
                    for (_, place), s in zip(placed, scores, strict=True)
                    if place.quota
                ]
                found[user] = recall_of(self.users.relevant[user], merged[at], kept, self.count)
        return found

    def alone(self, fitted: Fitted) -> NDArray[np.float64]:
        """Recall@C of a source by itself, float64 [V]."""
        found = np.zeros(len(self.users))
        for positions, merged in self._merged():
            scores = np.broadcast_to(fitted.scores(self._embedded[positions]), merged.shape)
            for at, user in enumerate(positions.tolist()):
                best = _best(scores[at], merged[at], self.count)
                found[user] = np.isin(self.users.relevant[user], best).mean()
        return found

    def spread(self) -> float:
        """Mean distance of the first and the last candidate's merged score."""
        distances = []
        for _, merged in self._merged():
            top = -np.partition(-merged, self.count - 1, axis=1)[:, : self.count]
            usable = np.isfinite(top).all(axis=1)
            distances += (top[usable].max(axis=1) - top[usable].min(axis=1)).tolist()
            break
        return float(np.mean(distances)) if distances else 1.0

    def _merged(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Positions of users and their merged scores of the whole catalogue, -inf for what they have seen."""
        num_items = len(self._retriever.tower.item_embeddings)
        step = max(1, BLOCK_CELLS // num_items)
        for start in range(0, len(self.users), step):
            positions = np.arange(start, min(start + step, len(self.users)))
            neighbour = self._retriever.neighbour_scores(self.users.user_row[positions])
            merged = self._retriever.merged_scores(self._embedded[positions], neighbour)
            for at, user in enumerate(positions.tolist()):
                merged[at, self.users.seen[user]] = -np.inf
            yield positions, merged


def recall_of(relevant: NDArray, merged: NDArray, kept: Sequence[NDArray], count: int) -> float:
    """Share of the relevant items among the candidates of one user.

    Args:
        relevant: item rows.
        merged: [N]; -inf for what must not be shown.
        kept: item rows that quotas keep a place for.
        count: C.
    """
    chosen = np.unique(np.concatenate([*kept, np.zeros(0, np.int64)])).astype(np.int64)
    rest = merged.copy()
    rest[chosen] = -np.inf
    left = max(count - len(chosen), 0)
    if left:
        top = np.argpartition(-rest, min(left, len(rest)) - 1)[:left]
        chosen = np.concatenate([chosen, top[np.isfinite(rest[top])]])
    return float(np.isin(relevant, chosen).mean())


def earns_a_place(place: Place, before: NDArray[np.float64], after: NDArray[np.float64], seed: int) -> PlaceTried:
    """Gain in recall with its interval over resampled users, and whether it is above chance.

    Args:
        place: that was tried.
        before: recall by user without it, float64 [V].
        after: with it.
        seed: of the resamples.
    """
    gain = estimates({"gain": after - before}, Resamples(NUM_RESAMPLES, seed))["gain"]
    earned = gain.low is not None and gain.low > 0
    return PlaceTried(place.weight, place.quota, round(gain.value, 5), gain.low, gain.high, earned)


def _best(scores: NDArray, merged: NDArray, count: int) -> NDArray[np.int64]:
    """The rows of a source's best that may be shown."""
    usable = np.where(np.isfinite(merged), scores, NOT_MEANT)
    top = np.argpartition(-usable, min(count, len(usable)) - 1)[:count]
    rows: NDArray[np.int64] = top[np.isfinite(usable[top])]
    return rows
