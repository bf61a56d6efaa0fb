"""Step 5: ranking scores -> the slate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.explore import NO_PLACE, sample
from runtime.ids import NO_ITEM
from runtime.order_spec import DETERMINISTIC, SOFTMAX, Exploration, OrderSpec, draw_keys
from runtime.ranker.sigmoid import sigmoid
from runtime.rerank import SlateRuler
from runtime.spec import (
    CANDIDATE_UTILITY,
    DRAW_POLICY,
    DRAW_SEED,
    LIVE_AGE,
    LIVE_OFFSET,
    PATHS,
    POPULARITY,
    UTILITY,
    ChainSpec,
    Tensor,
    encoded,
)
from runtime.step import Arrays, Step, load_array

__all__ = ["Order", "utilities_of"]

# A popularity of nothing is less than any: with this one an item is drawn when all others are.
LOWEST_POPULARITY = np.float32(1e-9)
RANKING_SCORE = "ranking_score"


class Order(Step):
    """Order by score, or by utility where the chain has one, descending, ties by id; cut to the slate.

    Rows become raw ids and logits probabilities.

    In a chain that explores, some slates are drawn by softmax over the same scores instead, each slot with the
    probability that it had.

    Args:
        score: what orders the candidates.
        is_logit: whether it becomes a probability; else it is given as it is.

    Attributes:
        sampled: what the last call drew from: item rows and utilities, int32 and float32 [B, C], rows of -1 for users
            whose slate was not drawn; None where it drew none.
        shown: the slates of the last call: int32 [B, S] item rows, and bool [B, S] where they hold.
    """

    name = "order"
    sampled: tuple[NDArray[np.int32], NDArray[np.float32]] | None = None
    shown: tuple[NDArray[np.int32], NDArray[np.bool_]] | None = None

    def __init__(self, score: str = RANKING_SCORE, is_logit: bool = True) -> None:
        super().__init__(score=score, is_logit=is_logit)
        self._score, self._is_logit = score, is_logit

    def open(self, folder: Path, spec: ChainSpec) -> None:
        """Open `files`."""
        self._spec = spec
        self._ids = load_array(folder / "ids/items.npy")
        self._is_text = self._ids.dtype.kind == "S"
        self._paths = np.array([path.encode() for path in PATHS], object)
        order = spec.order or OrderSpec()
        self._explore = order.explore
        self._ruler = None if order.slates is None else SlateRuler.open(order.slates, folder)
        self._history = _history(spec)

    def inputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The candidates with their scores, the path and the size of the slate."""
        return (
            Tensor("candidates", "INT32", spec.num_candidates),
            *(Tensor(name, "FP32", spec.num_candidates) for name in dict.fromkeys((self._score, self.key(spec)))),
            Tensor("path_code", "INT32"),
            Tensor("num_wanted", "INT32"),
            *([Tensor(LIVE_OFFSET, "INT64"), Tensor(LIVE_AGE, "INT64")] if spec.live else []),
            *([Tensor(name, "INT32", spec.history_length)] if (name := _history(spec)) else []),
            *(_DRAW if spec.explores else ()),
        )

    def outputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The response."""
        return spec.response

    def files(self, spec: ChainSpec) -> tuple[str, ...]:
        """The raw item ids, and what the rules of slates read."""
        slates = None if spec.order is None else spec.order.slates
        return ("ids/items.npy", *(() if slates is None else slates.files))

    def __call__(self, batch: Mapping[str, NDArray]) -> Arrays:
        """[B, C] candidates -> [B, S], S being the largest slate asked for; padding is -1 or b"" with score 0."""
        rows, scores, wanted = batch["candidates"], batch[self._score], batch["num_wanted"]
        size = min(int(wanted.max()), rows.shape[1])
        values = batch[self.key(self._spec)]
        ruler = self._ruler and self._ruler.now()
        best = self._sorted(rows, values, size) if ruler is None else self._ruled(ruler, batch, size)
        drawn: Arrays = {}
        if self._explore is not None:
            drawn = self._drawn(self._explore, ruler, batch, best)
        in_slate = (best != NO_PLACE) & (np.arange(size) < wanted)
        # Places in the flattened batch: one gather then takes them all.
        best += np.arange(len(rows))[:, None] * rows.shape[1]
        rows, shown = rows.take(best), scores.take(best)  # (B, S)
        kept = (rows != NO_ITEM) & in_slate
        self.shown = rows, kept
        worth = {UTILITY: values.take(best) * kept} if self._spec.utility else {}
        shown = self._probabilities(shown, batch["path_code"] == POPULARITY) * kept
        live = {"stream_offset": batch[LIVE_OFFSET], "state_age_ms": batch[LIVE_AGE]} if self._spec.live else {}
        if drawn:
            drawn["log_propensity"] = drawn["log_propensity"] * kept
        return {
            "item_id": self._raw_ids(rows, kept),
            "score": shown,
            "num_items": np.count_nonzero(kept, axis=1, keepdims=True).astype(np.int32),
            "path": self._paths[batch["path_code"]],
            **worth,
            **live,
            **drawn,
        }

    def key(self, spec: ChainSpec) -> str:
        """What orders the candidates: what they are worth, unless a graph of one's own has a score of its own."""
        return CANDIDATE_UTILITY if spec.utility and self._score == RANKING_SCORE else self._score

    def _sorted(self, rows: NDArray, scores: NDArray, size: int) -> NDArray[np.int64]:
        """Places of the best candidates, [B, S]."""
        descending = -scores
        descending[rows == NO_ITEM] = np.inf
        best = np.empty((len(rows), size), np.int64)
        for user in range(len(rows)):
            best[user] = first(rows[user], descending[user], size)
        return best

    def _ruled(self, ruler: SlateRuler, batch: Mapping[str, NDArray], size: int) -> NDArray[np.int64]:
        """Places of the candidates of slates that rules are made for, [B, S]."""
        rows, utilities = batch["candidates"], self._utilities(ruler, batch, slice(None))
        if not ruler.spec.is_stepwise:
            return self._sorted(rows, utilities, size)
        return ruler.ordered(utilities, rows, batch["num_wanted"][:, 0], self._taken(batch, slice(None)))

    def _drawn(
        self, explore: Exploration, ruler: SlateRuler | None, batch: Mapping[str, NDArray], best: NDArray[np.int64]
    ) -> Arrays:
        """What the response says of the draw; the places of drawn slates are put into `best`."""
        keys = draw_keys(batch[DRAW_SEED][:, 0], batch["user_row"][:, 0])
        explored = explore.drawn(keys, batch[DRAW_POLICY][:, 0])
        users, logs = np.flatnonzero(explored), np.zeros(best.shape, np.float32)
        self.sampled = None
        if len(users):
            rows, utilities = batch["candidates"][users], self._utilities(ruler, batch, users)
            rules = None
            if ruler is not None and ruler.spec.is_stepwise:
                rules = ruler.rules(rows, batch["num_wanted"][users, 0], self._taken(batch, users))
            draw = sample(utilities, best.shape[1], explore.temperature, keys[users], rows, rules)
            best[users], logs[users] = draw.places, draw.log_propensity
            self.sampled = _spread(users, rows, len(best)), _spread(users, utilities, len(best))
        policies = np.array([DETERMINISTIC.encode(), SOFTMAX.encode()], object)
        return {
            "policy": policies[explored.astype(int)][:, None],
            "explored": explored[:, None],
            "log_propensity": logs,
            "slate_seed": batch[DRAW_SEED],
        }

    def as_if(self, ruler: SlateRuler | None, batch: Mapping[str, NDArray]) -> NDArray[np.int32]:
        """The slates that other rules would order: item rows [B, S], -1 behind the last of a slate; nothing is drawn.

        Args:
            ruler: these rules; None: without any.
            batch: as of a call.
        """
        rows, wanted = batch["candidates"], batch["num_wanted"]
        size = min(int(wanted.max()), rows.shape[1])
        best = self._sorted(rows, batch[self.key(self._spec)], size)
        if ruler is not None:
            best = self._ruled(ruler, batch, size)
        kept = (best != NO_PLACE) & (np.arange(size) < wanted)
        found: NDArray[np.int32] = np.where(kept, np.take_along_axis(rows, np.where(kept, best, 0), 1), NO_ITEM)
        return found

    def _taken(self, batch: Mapping[str, NDArray], users: NDArray | slice) -> NDArray | None:
        """The histories of some users, where slates are calibrated to them."""
        return batch[self._history][users] if self._history else None

    def utilities(self, batch: Mapping[str, NDArray], users: NDArray | slice) -> NDArray[np.float32]:
        """What the slates of some users are drawn or ordered by now, [b, C]; -inf for padding."""
        return self._utilities(self._ruler and self._ruler.now(), batch, users)

    def _utilities(
        self, ruler: SlateRuler | None, batch: Mapping[str, NDArray], users: NDArray | slice
    ) -> NDArray[np.float32]:
        rows, is_popular = batch["candidates"][users], batch["path_code"][users] == POPULARITY
        utilities = utilities_of(rows, batch[self.key(self._spec)][users], is_popular)
        return utilities if ruler is None else ruler.boosted(utilities, rows)

    def _probabilities(self, scores: NDArray, is_popular: NDArray) -> NDArray:
        """The scores of logits, [B, S]; those of the popularity path are none."""
        if not self._is_logit:
            return scores
        return np.where(is_popular, scores, sigmoid(scores)) if is_popular.any() else sigmoid(scores)

    def _raw_ids(self, rows: NDArray, kept: NDArray) -> NDArray:
        """int64 or objects of bytes, [B, S]."""
        ids: NDArray = self._ids[rows]
        if self._is_text:
            ids = ids.astype(object)
        ids[~kept] = b"" if self._is_text else -1
        return ids


_DRAW = (Tensor("user_row", "INT32"), Tensor(DRAW_SEED, "INT64"), Tensor(DRAW_POLICY, "INT32"))


def _history(spec: ChainSpec) -> str:
    """The array of the histories that slates are calibrated to; empty: they are not."""
    slates = None if spec.order is None else spec.order.slates
    return encoded(spec.history_feature) if slates is not None and slates.calibration is not None else ""


def utilities_of(rows: NDArray, scores: NDArray, is_popular: NDArray) -> NDArray[np.float32]:
    """What slates are drawn by.

    Args:
        rows: candidates [B, C]; -1: padding, which gets -inf.
        scores: float32 [B, C]: logits, and on the popularity path popularities, whose logarithm is to a small
            probability what a logit is.
        is_popular: bool [B, 1].
    """
    values: NDArray[np.float32] = scores.astype(np.float32)
    if is_popular.any():
        values = np.where(is_popular, np.log(np.maximum(values, LOWEST_POPULARITY)), values)
    values[rows == NO_ITEM] = -np.inf
    return values


def _spread(users: NDArray, values: NDArray, num_users: int) -> NDArray:
    """Rows of some users as rows of all; -1 for the others."""
    spread = np.full((num_users, values.shape[1]), -1, values.dtype)
    spread[users] = values
    return spread


def first(rows: NDArray, values: NDArray, count: int) -> NDArray[np.int64]:
    """Places of the `count` lowest values [C], ascending, ties by row."""
    places = np.arange(len(values))
    if count < len(values):
        # Few are left to be sorted: sorting all of them would take longer than everything else here.
        places = np.flatnonzero(values <= np.partition(values, count - 1)[count - 1])
    order: NDArray[np.int64] = np.lexsort((rows[places], values[places]))[:count]
    return places[order]
