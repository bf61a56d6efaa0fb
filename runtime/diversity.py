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
    """What the candidates of a batch lose."""

    @property
    def penalties(self) -> NDArray[np.float64]:
        """float64 [B, C], as of the places so far."""

    def take(self, users: NDArray, places: NDArray) -> None:
        """Some users' slates show the candidates at these places next."""


def similarity_of(diversity: Diversity | None, files: Mapping[str, NDArray], rows: NDArray) -> Similarity | None:
    """The one of a batch; None where no diversity is asked for.

    Args:
        diversity: kind and weight.
        files: with the vectors of the items, float32 [N, D].
        rows: candidates int32 [B, C]; -1: padding.
    """
    if diversity is None:
        return None
    vectors = files[VECTORS_FILE][np.maximum(rows, 0)]
    lengths = np.sqrt(np.einsum("bcd,bcd->bc", vectors, vectors))
    # Of this length, inner products are cosines counted in STEP.
    vectors = vectors * (np.float32(STEP**-0.5) / np.where(lengths > 0, lengths, 1))[..., None]
    return (Determinant if diversity.kind == DPP else MarginalRelevance)(vectors, diversity.weight)


class MarginalRelevance:
    """The largest cosine to an item that is shown, times the weight.

    Args:
        vectors: float32 [B, C, D], of the length STEP ** -0.5.
        weight: of the cosine.
    """

    def __init__(self, vectors: NDArray[np.float32], weight: float) -> None:
        self._vectors, self._weight = vectors, weight
        self._largest: NDArray[np.float64] | None = None

    @property
    def penalties(self) -> NDArray[np.float64]:
        """float64 [B, C]."""
        if self._largest is None:
            return np.zeros(self._vectors.shape[:2])
        return self._largest * (self._weight * STEP)

    def take(self, users: NDArray, places: NDArray) -> None:
        """Compare with one more item."""
        found = cosines(self._vectors, users, places)
        if self._largest is None:  # the first place: users without one have no candidate that could lose
            largest = np.zeros(self._vectors.shape[:2])
            largest[users] = found
            self._largest = largest
        elif len(users) == len(self._largest):
            np.maximum(self._largest, found, out=self._largest)
        else:
            self._largest[users] = np.maximum(self._largest[users], found)


class Determinant:
    """Minus the logarithm of what of an item's vector those that are shown do not span, times the weight.

    Where they span all of it, the least that counts as news takes its place: such items come by utility.

    Args:
        vectors: float32 [B, C, D], of the length STEP ** -0.5.
        weight: of the logarithm.
    """

    def __init__(self, vectors: NDArray[np.float32], weight: float) -> None:
        self._vectors, self._weight = vectors, weight
        self.penalties = np.zeros(vectors.shape[:2])
        self._news = np.ones(vectors.shape[:2])
        self._basis: list[NDArray[np.float64]] = []

    def take(self, users: NDArray, places: NDArray) -> None:
        """Take away what one more item spans."""
        own, row = self._news[users, places], np.zeros(self._news.shape)
        some = own > STEP
        users, places, own = users[some], places[some], own[some]
        if not len(users):
            return
        found = cosines(self._vectors, users, places) * STEP
        if self._basis:
            basis = np.stack([part[users] for part in self._basis])  # (places so far, b, C)
            found = found - np.einsum("kbc,kb->bc", basis, basis[:, np.arange(len(users)), places])
        row[users] = found / np.sqrt(own)[:, None]
        self._basis.append(row)
        self._news[users] = np.maximum(self._news[users] - row[users] ** 2, 0)
        news = np.maximum(np.rint(self._news[users] / STEP), 1) * STEP
        self.penalties[users] = -self._weight * np.log(news)


def cosines(vectors: NDArray[np.float32], users: NDArray, places: NDArray) -> NDArray[np.float64]:
    """Of some users' candidates with one of them each, [b, C], counted in STEP."""
    own = vectors if len(users) == len(vectors) else vectors[users]
    taken = own[np.arange(len(own)), places]
    found: NDArray[np.float64] = np.matmul(own, taken[:, :, None])[:, :, 0].astype(np.float64)
    return np.rint(found, out=found)
