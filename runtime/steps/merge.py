"""Merge what the sources found into one list of candidates, which weights order and quotas keep places in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.ids import NO_ITEM
from runtime.index.rounding import SCORE_STEP, quantise
from runtime.sources.base import make_source, real
from runtime.spec import POPULARITY, ChainSpec, Tensor
from runtime.step import Arrays, Step

__all__ = ["MERGED_STEP", "PINNED", "Merge", "Union"]

MERGED_STEP = 2.0**-16
RETRIEVAL_SCORE = "retrieval_score"
# The source whose items are candidates where nothing is known of a user, too.
PINNED = "pinned"


class Union(NamedTuple):
    """What the sources found for one user together, before it is cut to C candidates.

    Attributes:
        rows: int64 [M], distinct item rows, in the order in which they came.
        merged: float32 [M], their merged scores.
        scores: number of a source -> float32 [M], its scores of them.
        brought: number of a source -> the rows that it put into the union, and its scores of these.
        places: number of a source -> the places of these in the union.
    """

    rows: NDArray
    merged: NDArray[np.float32]
    scores: dict[int, NDArray[np.float32]]
    brought: dict[int, tuple[NDArray, NDArray]]
    places: dict[int, NDArray]


class Merge(Step):
    """The C best of the union of what the sources found.

    merged score = sum over the sources of weight * score. A source gives the scores of the items that it found. A
    source that is not sparse also scores the items that others found. A sparse source gives every item that has a score
    other than 0, and its C best with a positive score join the union; of any other source, all items do.

    A quota keeps places: of a source with the quota q, the q best by its own score are candidates, whatever their
    merged score. Where nothing is known of a user, the candidates are those of the fallback source, in its order, and
    the pinned items.

    Args:
        sources: a record each: "step" and "settings" of the source, "weight", "quota".
        fallback: the name of the source for users of whom nothing is known.

    Attributes:
        sources: made, not opened.
    """

    name = "merge"
    model = "retrieve"
    is_heavy = True

    def __init__(self, sources: list[dict[str, Any]], fallback: str) -> None:
        super().__init__(sources=sources, fallback=fallback)
        self.sources = [make_source(record["step"], record["settings"]) for record in sources]
        self._weights = np.array([record["weight"] for record in sources], np.float64)
        self._quotas = [int(record["quota"]) for record in sources]
        # Queried for every user; the others serve only users of whom nothing is known.
        self._queried = [number for number, source in enumerate(self.sources) if not source.only_unknown]
        names = [source.name for source in self.sources]
        self._fallback, self._pinned = names.index(fallback), names.index(PINNED) if PINNED in names else None

    def inputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """What the sources gave, the query and the path."""
        found = [tensor for source in self.sources for tensor in source.outputs(spec)]
        return (Tensor("query", "FP32", spec.embedding_dim), Tensor("path_code", "INT32"), *found)

    def outputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """`candidates`, item rows padded with -1, best first; the merged score and those that the ranker sees."""
        names = (RETRIEVAL_SCORE, *(source.score_name for source in self.sources if source.score_name))
        scores = [Tensor(name, "FP32", spec.num_candidates) for name in names]
        return (Tensor("candidates", "INT32", spec.num_candidates), *scores)

    def files(self, spec: ChainSpec) -> tuple[str, ...]:
        """What the sources need to score the items of others."""
        return tuple(name for number in self._queried for name in self.sources[number].scorer_files(spec))

    def open(self, folder: Path, spec: ChainSpec) -> None:
        """Open `files`."""
        self._scorers = {number: self.sources[number].scorer(folder, spec) for number in self._queried}
        self._place = np.full(spec.num_items, -1, np.int64)
        self._marked = np.zeros(spec.num_items, np.float32)
        self._count = spec.num_candidates

    def __call__(self, batch: Mapping[str, NDArray]) -> Arrays:
        """[B, ...] found items and scores -> candidates [B, C] with their scores."""
        paths = batch["path_code"][:, 0].tolist()
        candidates = np.full((len(paths), self._count), NO_ITEM, np.int32)
        merged = np.zeros(candidates.shape, np.float32)
        seen = {n: np.zeros(candidates.shape, np.float32) for n in self._queried if self.sources[n].score_name}
        for user, path in enumerate(paths):
            if path == POPULARITY:
                rows, values = self._of_fallback(batch, user)
            else:
                rows, values, scores = self._merge(batch, user)
                for number, of_source in seen.items():
                    of_source[user, : len(rows)] = scores[number]
            candidates[user, : len(rows)], merged[user, : len(rows)] = rows, values
        named = {self.sources[number].score_name: scores for number, scores in seen.items()}
        return {"candidates": candidates, RETRIEVAL_SCORE: merged, **named}

    def _of_fallback(self, batch: Mapping[str, NDArray], user: int) -> tuple[NDArray, NDArray]:
        """Candidates and scores of a user of whom nothing is known."""
        rows, values = self._given(batch, self._fallback, user)
        rows, values = rows[: self._count], values[: self._count]
        if self._pinned is None:
            return rows, values
        return _with_pinned(rows, values, self._given(batch, self._pinned, user)[0], self._count)

    def _given(self, batch: Mapping[str, NDArray], number: int, user: int) -> tuple[NDArray, NDArray]:
        """Rows and scores that a source gave for a user, without the padding."""
        name = self.sources[number].name
        rows = real(batch[f"{name}_items"][user]).astype(np.int64)
        return rows, batch[f"{name}_scores"][user, : len(rows)]

    def union(self, batch: Mapping[str, NDArray], user: int) -> Union:
        """What the sources found for a user of whom something is known.

        Args:
            batch: what `inputs` names, [B, ...].
            user: the place in the batch.
        """
        given = {number: self._given(batch, number, user) for number in self._queried}
        brought = {number: self._brought(number, *given[number]) for number in self._queried}
        union = self._union([brought[number][0] for number in self._queried])
        self._place[union] = np.arange(len(union))
        places = {number: self._place[rows] for number, (rows, _) in brought.items()}
        self._place[union] = -1
        known = {number: (places[number], scores) for number, (_, scores) in brought.items()}
        merged, scores = self._score(batch["query"][user], union, given, known)
        return Union(union, merged, scores, brought, places)

    def scored(
        self, batch: Mapping[str, NDArray], user: int, rows: NDArray
    ) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        """The scores that any items would have in the union of a user.

        Args:
            batch: what `inputs` names, [B, ...].
            user: the place in the batch; of whom something is known.
            rows: int64 [K], distinct item rows.

        Returns:
            float32 [K]: the merged scores, and those of each source by its name.
        """
        given = {number: self._given(batch, number, user) for number in self._queried}
        self._place[rows] = np.arange(len(rows))
        known = {}
        for number, (found, scores) in given.items():
            places = self._place[found]
            known[number] = places[places >= 0], scores[places >= 0]
        self._place[rows] = -1
        merged, by_number = self._score(batch["query"][user], rows, given, known)
        return merged, {self.sources[number].name: scores for number, scores in by_number.items()}

    def _score(
        self,
        query: NDArray,
        rows: NDArray,
        given: Mapping[int, tuple[NDArray, NDArray]],
        known: Mapping[int, tuple[NDArray, NDArray]],
    ) -> tuple[NDArray[np.float32], dict[int, NDArray[np.float32]]]:
        """Merged scores and those by source; `known` are the places among the rows that a source gave, and scores."""
        scores, total = {}, np.zeros(len(rows))
        for number in self._queried:
            if self.sources[number].is_sparse:
                scores[number] = quantise(self._looked_up(rows, *given[number]), SCORE_STEP)
            else:
                scores[number] = self._dense(number, *known[number], rows, query)
            total += self._weights[number] * scores[number].astype(np.float64)
        return quantise(total, MERGED_STEP), scores

    def _merge(self, batch: Mapping[str, NDArray], user: int) -> tuple[NDArray, NDArray, dict[int, NDArray]]:
        """Rows, merged scores, and the scores by source, best first."""
        found = self.union(batch, user)
        best = np.lexsort((found.rows, -found.merged))
        if any(self._quotas) and len(best) > self._count:
            best = self._with_quotas(best, found)
        best = best[: self._count]
        return found.rows[best], found.merged[best], {number: values[best] for number, values in found.scores.items()}

    def _brought(self, number: int, rows: NDArray, scores: NDArray) -> tuple[NDArray, NDArray]:
        """The items and scores of a source that join the union; of those that tie for the last places, the first."""
        if not self.sources[number].is_sparse:
            return rows, scores
        positive = scores > 0
        if not positive.all():
            rows, scores = rows[positive], scores[positive]
        if len(rows) <= self._count:
            return rows, scores
        scores = quantise(scores, SCORE_STEP)
        last = np.partition(scores, len(scores) - self._count)[len(scores) - self._count]
        kept = scores >= last
        if (too_many := np.count_nonzero(kept) - self._count) > 0:
            kept[np.flatnonzero(scores == last)[-too_many:]] = False
        return rows[kept], scores[kept]

    def _looked_up(self, wanted: NDArray, rows: NDArray, scores: NDArray) -> NDArray[np.float32]:
        """The scores of some items, 0 where the source gave none: marking a few beats searching among them."""
        self._marked[rows] = scores
        found: NDArray[np.float32] = self._marked[wanted]
        self._marked[rows] = 0
        return found

    def _union(self, parts: list[NDArray]) -> NDArray:
        """Distinct rows, in the order in which they come first."""
        union = parts[0]
        for rows in parts[1:]:
            self._place[union] = 0
            new = rows[self._place[rows] < 0]
            self._place[union] = -1
            if len(new):
                union = np.concatenate([union, new])
        return union

    def _dense(
        self, number: int, places: NDArray, given: NDArray, union: NDArray, query: NDArray
    ) -> NDArray[np.float32]:
        """A source's scores of the whole union: those that it gave, and its scorer's for the other items."""
        scores, is_given = np.zeros(len(union), np.float32), np.zeros(len(union), bool)
        scores[places], is_given[places] = given, True
        missing = np.flatnonzero(~is_given)
        if (scorer := self._scorers[number]) is not None and len(missing):
            scores[missing] = scorer(query, union[missing])
        return scores

    def kept_by_quota(self, found: Union) -> NDArray[np.bool_]:
        """Which places of a union quotas keep, whatever their merged score; bool [M]."""
        kept = np.zeros(len(found.rows), bool)
        for number, quota in enumerate(self._quotas):
            if quota and number in found.brought:
                rows, scores = found.brought[number]
                kept[found.places[number][np.lexsort((rows, -scores))[:quota]]] = True
        return kept

    def _with_quotas(self, order: NDArray, found: Union) -> NDArray:
        """The best C places of the union, in the order of the merged score, with the places that quotas keep."""
        kept = self.kept_by_quota(found)
        others = order[~kept[order]][: max(self._count - int(kept.sum()), 0)]
        kept[others] = True
        chosen: NDArray = order[kept[order]]
        return chosen


def _with_pinned(rows: NDArray, values: NDArray, pinned: NDArray, count: int) -> tuple[NDArray, NDArray]:
    """Candidates of the fallback with the pinned items that are not among them in the last places, score 0."""
    new = pinned[~np.isin(pinned, rows)][:count]
    if not len(new):
        return rows, values
    is_pinned = np.isin(rows, pinned)
    others = np.flatnonzero(~is_pinned)[: max(count - len(new) - int(is_pinned.sum()), 0)]
    kept = np.sort(np.concatenate([np.flatnonzero(is_pinned), others]))
    return np.concatenate([rows[kept], new]), np.concatenate([values[kept], np.zeros(len(new), values.dtype)])
