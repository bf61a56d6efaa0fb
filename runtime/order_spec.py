"""How a chain orders its candidates where it does more than sort them by score: the part of chain.json."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.explore import mixed, uniform
from runtime.slate_spec import SlateSpec

__all__ = ["DETERMINISTIC", "POLICIES", "SOFTMAX", "Exploration", "OrderSpec", "draw_keys"]

# The policies of an answer, and of a request that asks for one; a request's code 0 asks for none.
DETERMINISTIC, SOFTMAX = "deterministic", "softmax"
POLICIES = ("", DETERMINISTIC, SOFTMAX)
# What the draw of the share is hashed with; the slots of a slate take 0 and up.
OF_SHARE = -1


@dataclass(frozen=True)
class Exploration:
    """Slates that are drawn at random, by sequential softmax; see `runtime.explore`.

    Attributes:
        temperature: of the softmax over ranking logits.
        share: of the slates that are drawn; the others are ordered as they would be without.
    """

    temperature: float
    share: float

    def drawn(self, keys: NDArray[np.uint64], forced: NDArray) -> NDArray[np.bool_]:
        """Which slates are drawn, bool [B].

        Args:
            keys: uint64 [B], see `draw_keys`.
            forced: int [B], place in POLICIES that the request asks for.
        """
        chosen = uniform(mixed(keys, OF_SHARE)) < self.share
        return np.where(forced == 0, chosen, forced == POLICIES.index(SOFTMAX))


@dataclass(frozen=True)
class OrderSpec:
    """What the last step does besides sorting.

    Attributes:
        explore: which slates are drawn, and how; None: none are.
        utility: the formula by which slates are ordered, whose numbers are in worth.npy; empty: by the ranker's score.
        slates: what a slate must look like; None: nothing is asked of it.
    """

    explore: Exploration | None = None
    utility: str = ""
    slates: SlateSpec | None = None


def draw_keys(seeds: NDArray, user_rows: NDArray) -> NDArray[np.uint64]:
    """What all of a slate's randomness follows from, uint64 [B].

    The user counts beside the seed: a caller that sends the same seed for all would else show all the same items.
    """
    return mixed(seeds, user_rows)
