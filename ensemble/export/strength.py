"""How strong diversity is where the config leaves it open: as strong as it may be for what it costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ensemble.export.sample import Sample
from runtime.slate_spec import Diversity

__all__ = ["Chosen", "chosen_strength", "cosine_of_pairs", "same_of_pairs", "weight_of"]

STRENGTHS = np.arange(1, 20) / 20


class Chosen(NamedTuple):
    """A strength, and what it does to the slates of some users.

    Attributes:
        strength: 0: none was cheap enough.
        loss: share of what slates are worth without diversity that they lose.
        slates: item rows without diversity and with it, int32 [U, S] each.
    """

    strength: float
    loss: float
    slates: tuple[NDArray[np.int32], NDArray[np.int32]]


def weight_of(strength: float) -> float:
    """What a strength weighs beside the utility."""
    return strength / (1 - strength)


def chosen_strength(
    sample: Sample, files: Mapping[str, NDArray], diversity: Callable[[float], Diversity], max_loss: float
) -> Chosen:
    """The largest of twenty steps with which slates lose at most so much of what they are worth.

    All is what the models say, no measurement.

    Args:
        sample: of the chain without diversity.
        files: what diversity reads.
        diversity: that of a strength.
        max_loss: share of the worth.
    """
    plain = sample.slates(sample.spec, files)
    worth, before = sample.total_worth(plain), sample.items(plain)
    found = Chosen(0.0, 0.0, (before, before))
    low, high = 0, len(STRENGTHS) if worth > 0 else 0
    while low < high:  # the stronger, the less they are worth
        middle = (low + high) // 2
        strength = float(STRENGTHS[middle])
        places = sample.slates(replace(sample.spec, diversity=diversity(strength)), files)
        loss = 1 - sample.total_worth(places) / worth
        if loss <= max_loss:
            found, low = Chosen(strength, loss, (before, sample.items(places))), middle + 1
        else:
            high = middle
    return found


def cosine_of_pairs(vectors: NDArray[np.float32], slates: NDArray) -> float:
    """Mean cosine of two items of a slate, mean over slates; of padding there is none.

    Args:
        vectors: float32 [N, D].
        slates: item rows [U, S]; -1: none.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    own = (vectors / np.where(lengths > 0, lengths, 1))[slates]
    own[slates < 0] = 0
    sums = np.square(own.sum(axis=1)).sum(axis=1) - np.square(own).sum(axis=(1, 2))
    return _mean_of_pairs(sums, slates)


def same_of_pairs(codes: NDArray[np.int32], slates: NDArray) -> float:
    """Share of the pairs of items of a slate with the same value, mean over slates.

    Args:
        codes: int32 [N]; -1: no value, which is the same as nothing.
        slates: item rows [U, S]; -1: none.
    """
    own = np.where(slates >= 0, codes[np.maximum(slates, 0)], -1)
    same = (own[:, :, None] == own[:, None, :]) & (own >= 0)[:, :, None]
    return _mean_of_pairs(same.sum(axis=(1, 2)) - (own >= 0).sum(axis=1), slates)


def _mean_of_pairs(sums: NDArray, slates: NDArray) -> float:
    count = (slates >= 0).sum(axis=1)
    pairs = count * (count - 1)
    return float((sums[pairs > 0] / pairs[pairs > 0]).mean()) if pairs.any() else 0.0
