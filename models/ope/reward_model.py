"""A model of what a slot earns: a position curve times what items of a score earn, fitted on other users' slates.

    reward of an item with score s at slot k  ~  curve_k x gain(bin of s)

by weighted least squares, one factor after the other. It need not be right: cascade-DR stays unbiased, and the better
it is the narrower the interval. It must not have seen the slates that it is used for: users are split into folds, and
each fold's slates get the model of the others (Chernozhukov et al., Econometrics Journal 21(1), 2018).
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.ope.slates import Floats, Values

__all__ = ["NUM_FOLDS", "RewardModel", "fit_reward_model", "folds_of", "slate_values"]

NUM_FOLDS = 5
NUM_BINS = 20
NUM_ROUNDS = 30


class RewardModel(msgspec.Struct, frozen=True):
    """A fitted one.

    Attributes:
        edges: float64 [bins - 1], ascending scores between bins.
        gains: float64 [bins], what an item of a bin earns at a slot whose curve is 1.
        curve: float64 [S].
    """

    edges: Floats
    gains: Floats
    curve: Floats

    def gain(self, scores: Floats) -> Floats:
        """What items of these scores earn at a slot whose curve is 1, float64 of the same shape."""
        gains: Floats = self.gains[np.searchsorted(self.edges, scores, side="right")]
        return gains


def fit_reward_model(scores: Floats, rewards: Floats, shown: NDArray[np.bool_]) -> RewardModel:
    """Fit one.

    Args:
        scores: float64 [N, S], of the shown items; a higher one need not earn more.
        rewards: float64 [N, S].
        shown: bool [N, S], whether the slate has the slot.
    """
    size = scores.shape[1]
    known = scores[shown]
    if not len(known):
        return RewardModel(np.zeros(0), np.zeros(1), np.zeros(size))
    edges = np.unique(np.quantile(known, np.linspace(0, 1, NUM_BINS + 1)[1:-1]))
    cell = np.searchsorted(edges, known, side="right") * size + np.nonzero(shown)[1]
    shape = len(edges) + 1, size
    counts = np.bincount(cell, minlength=shape[0] * size).reshape(shape).astype(np.float64)
    sums = np.bincount(cell, rewards[shown], minlength=shape[0] * size).reshape(shape)
    curve = _divided(sums.sum(axis=0), counts.sum(axis=0))
    gains = np.zeros(shape[0])
    for _ in range(NUM_ROUNDS):
        gains = _divided(sums @ curve, counts @ curve**2)
        curve = _divided(gains @ sums, gains**2 @ counts)
    return RewardModel(edges, gains, curve)


def folds_of(users: NDArray[np.int64], seed: int = 0) -> NDArray[np.int64]:
    """Which of NUM_FOLDS folds each slate is in, int64 [N]; the slates of a user are all in one."""
    distinct, owner = np.unique(users, return_inverse=True)
    folds = np.random.default_rng(seed).permutation(len(distinct)) % NUM_FOLDS
    return folds[owner].astype(np.int64)


def slate_values(model: RewardModel, scores: Floats, following: Floats, places: NDArray[np.int64]) -> Values:
    """What the model expects from each slot on.

    After slot k the target's later choices are taken to be as its choice at slot k without the item that is shown
    there, which is exact for the next slot and a little too good for those behind it.

    Args:
        model: fitted on other users.
        scores: float64 [N, C], of the candidates of the target, as the model was fitted on them.
        following: float64 [N, S, C], log probability of each candidate at each slot under the target, given the logged
            items before it; -inf everywhere where the slate has no such slot.
        places: int64 [N, S], which candidate each slot shows; -1: none, or no such slot.
    """
    gains = model.gain(scores)[:, None, :]
    chances = np.exp(following)
    totals = chances.sum(axis=2, keepdims=True)
    exists = totals[:, :, 0] > 0
    curve = np.where(exists, model.curve, 0.0)
    later = np.cumsum(curve[:, ::-1], axis=1)[:, ::-1] - curve
    rest = np.maximum(totals - chances, 0.0)
    left = np.divide(
        (chances * gains).sum(axis=2, keepdims=True) - chances * gains,
        rest,
        where=rest > 1e-9,
        out=np.broadcast_to(gains, chances.shape).copy(),
    )
    values = curve[:, :, None] * gains + later[:, :, None] * left
    taken = np.take_along_axis(values, np.maximum(places, 0)[:, :, None], axis=2)[:, :, 0]
    return Values(np.where(exists & (places >= 0), taken, 0.0), (chances * values).sum(axis=2))


def _divided(sums: Floats, counts: Floats) -> Floats:
    return np.divide(sums, counts, out=np.zeros(len(sums)), where=counts > 0)
