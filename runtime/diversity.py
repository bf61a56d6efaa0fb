"""What an item loses by being like those that a slate shows: MMR and determinantal point processes, place by place.

References: Carbonell and Goldstein 1998; Chen, Zhang and Zhou 2018, "Fast greedy MAP inference for determinantal point
process", whose update per place this is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.slate_spec import DPP, VECTORS_FILE, Diversity

__all__ = ["Similarity", "similarity_of"]

# Cosines are rounded to this step, and less news than it is none: copies of an item then tie, and ties go by row.
STEP = 2.0**-16


class Similarity(Protocol):
    """What the candidates of a slate lose.

    Attributes:
        penalties: float64 [C], as of the places so far.
    """

    penalties: NDArray[np.float64]

    def take(self, place: int) -> None:
        """The slate shows the candidate at this place next."""


def similarity_of(diversity: Diversity | None, files: Mapping[str, NDArray], rows: NDArray) -> Similarity | None:
    """The one of a slate; None where no diversity is asked for.

    Args:
        diversity: kind and weight.
        files: with the vectors of the items, float32 [N, D].
        rows: candidates int32 [C]; -1: padding.
    """
    if diversity is None:
        return None
    vectors = files[VECTORS_FILE][rows]
    lengths = np.sqrt(np.einsum("cd,cd->c", vectors, vectors))
    # Of this length, inner products are cosines counted in STEP.
    vectors = vectors * (np.float32(STEP**-0.5) / np.where(lengths > 0, lengths, np.float32(1)))[:, None]
    return (Determinant if diversity.kind == DPP else MarginalRelevance)(vectors, diversity.weight)


class MarginalRelevance:
    """The largest cosine to an item that is shown, times the weight.

    Args:
        vectors: float32 [C, D], of the length STEP ** -0.5.
        weight: of the cosine.
    """

    def __init__(self, vectors: NDArray[np.float32], weight: float) -> None:
        self._vectors, self._scale = vectors, weight * STEP
        self._largest: NDArray[np.float32] | None = None
        self.penalties = np.zeros(len(vectors))

    def take(self, place: int) -> None:
        """Compare with one more item."""
        found = cosines(self._vectors, place)
        # In float32, which holds whole numbers up to many times STEP ** -1.
        self._largest = found if self._largest is None else np.maximum(self._largest, found, out=found)
        self.penalties = self._largest.astype(np.float64) * self._scale


class Determinant:
    """Minus the logarithm of what of an item's vector those that are shown do not span, times the weight.

    Where they span all of it, the least that counts as news takes its place: such items come by utility.

    Args:
        vectors: float32 [C, D], of the length STEP ** -0.5.
        weight: of the logarithm.
    """

    def __init__(self, vectors: NDArray[np.float32], weight: float) -> None:
        self._vectors, self._weight = vectors, weight
        self.penalties = np.zeros(len(vectors))
        self._news = np.ones(len(vectors))
        self._spanned = np.zeros((min(vectors.shape), len(vectors)))  # (places so far, C), by rows
        self._rank = 0

    def take(self, place: int) -> None:
        """Take away what one more item spans."""
        own = self._news[place]
        if own <= STEP or self._rank == len(self._spanned):
            return
        before, row = self._spanned[: self._rank], self._spanned[self._rank]
        np.multiply(cosines(self._vectors, place), STEP, out=row)
        if self._rank:
            row -= before[:, place] @ before
        row /= np.sqrt(own)
        self._rank += 1
        self._news -= row * row
        news = np.maximum(np.rint(self._news / STEP), 1) * STEP
        self.penalties = np.log(news) * -self._weight


def cosines(vectors: NDArray[np.float32], place: int) -> NDArray[np.float32]:
    """Of all candidates with one of them, [C], counted in STEP."""
    found: NDArray[np.float32] = vectors @ vectors[place]
    return np.rint(found, out=found)
