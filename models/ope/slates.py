"""Logged slates beside the probabilities that two policies give them."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_LOG_WEIGHT", "Floats", "Slates", "Values", "cumulative_weights"]

Floats = NDArray[np.float64]

# A weight of e^300 decides alone, is refused as that, and its square is still a number.
MAX_LOG_WEIGHT = 300.0


class Values(msgspec.Struct, frozen=True):
    """What a model expects of the target policy, slot by slot.

    Estimators stay unbiased whatever the model says, as long as `expected` is the mean of `taken` over the target.

    Attributes:
        taken: float64 [N, S], reward from slot k on if the logged item is shown there and the target goes on.
        expected: float64 [N, S], the same if the target chooses slot k too, after the logged items before it.
    """

    taken: Floats
    expected: Floats


class Slates(msgspec.Struct, frozen=True):
    """N logged slates of up to S items; a slot that a slate does not have holds 0 in each array.

    Attributes:
        rewards: float64 [N, S], what each slot earned.
        logged: float64 [N, S], natural log of the probability with which the slot got its item, given the slots before.
        target: float64 [N, S], the same under the policy that is evaluated; -inf where it would never show the item.
        users: int64 [N], whose slate it is, by a number; slates of one user are not independent.
    """

    rewards: Floats
    logged: Floats
    target: Floats
    users: NDArray[np.int64]

    def weights(self) -> Floats:
        """How much more often the target draws the first k items, float64 [N, S]; the last slot's is the slate's."""
        return cumulative_weights(self.logged, self.target)

    def take(self, rows: NDArray) -> Slates:
        """Some of the slates."""
        return Slates(self.rewards[rows], self.logged[rows], self.target[rows], self.users[rows])


def cumulative_weights(logged: Floats, target: Floats) -> Floats:
    """W_k, the product over the first k slots of target over logged probability.

    Args:
        logged: float64 [N, S], log probabilities, finite.
        target: float64 [N, S], log probabilities, or -inf.

    Returns:
        float64 [N, S], at most e^300.
    """
    weights: Floats = np.exp(np.minimum(np.cumsum(target - logged, axis=1), MAX_LOG_WEIGHT))
    return weights
