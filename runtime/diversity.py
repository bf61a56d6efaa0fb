"""What an item loses by being like those that a slate shows: MMR and determinantal point processes, place by place.

References: Carbonell and Goldstein 1998; Chen, Zhang and Zhou 2018, "Fast greedy MAP inference for determinantal point
process", whose update per place this is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.slate_spec import DPP, Diversity

__all__ = ["Similarity", "similarity_of"]

# Likeness is counted in this step, and less news than it is none: copies of an item then tie, and ties go by row.
STEP = 2.0**-16
# Of two items with the same value in every column: they are still two, so that a determinant tells them apart.
SAME = 0.9


class Similarity(Protocol):
    """What the candidates of a slate lose.

    Attributes:
        penalties: float64 [C], as of the places so far.
    """

    penalties: NDArray[np.float64]

    def take(self, place: int) -> None:
        """The slate shows the candidate at this place next."""


class Likeness(Protocol):
    """How alike the candidates of a slate are.

    Attributes:
        rank: after so many of them, none adds anything new.
    """

    rank: int

    def to(self, place: int) -> NDArray[np.float32]:
        """Of all candidates to one of them, [C], whole numbers of STEP; to be overwritten."""


def similarity_of(
    diversity: Diversity | None, files: Mapping[str, NDArray], rows: NDArray, wanted: int
) -> Similarity | None:
    """The one of a slate; None where no diversity is asked for.

    Args:
        diversity: kind, weight and what items are compared by.
        files: with the vectors of the items, float32 [N, D], or the codes of their values, int32 [N, M].
        rows: candidates int32 [C]; -1: padding.
        wanted: places of the slate.
    """
    if diversity is None:
        return None
    known = files[diversity.file][rows]
    likeness: Likeness = Cosines(known) if known.dtype.kind == "f" else SameValues(known)
    if diversity.kind == DPP:
        return Determinant(likeness, len(rows), diversity.weight, wanted)
    return MarginalRelevance(likeness, len(rows), diversity.weight)


class Cosines:
    """Cosines of vectors.

    Args:
        vectors: float32 [C, D].
    """

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.rank = min(vectors.shape)
        lengths = np.sqrt(np.einsum("cd,cd->c", vectors, vectors))
        # Of this length, inner products are cosines counted in STEP.
        self._vectors = vectors * (np.float32(STEP**-0.5) / np.where(lengths > 0, lengths, np.float32(1)))[:, None]

    def to(self, place: int) -> NDArray[np.float32]:
        """See `Likeness`."""
        # The method costs less than the operator, whose checks take as long as the product of so few.
        found: NDArray[np.float32] = self._vectors.dot(self._vectors[place])
        return np.rint(found, out=found)


class SameValues:
    """SAME times the share of columns in which two items have the same value.

    Args:
        codes: int32 [C, M] of the values; -1: none, which is like nothing.
    """

    def __init__(self, codes: NDArray[np.int32]) -> None:
        self.rank, columns = len(codes), codes.shape[1]
        self._codes = np.ascontiguousarray(codes.T)  # (M, C)
        self._asked = np.where(codes < 0, -2, codes)[:, :, None]  # (C, M, 1)
        self._steps = np.rint(np.arange(columns + 1) * (SAME / columns / STEP)).astype(np.float32)

    def to(self, place: int) -> NDArray[np.float32]:
        """See `Likeness`."""
        found: NDArray[np.float32] = self._steps[(self._codes == self._asked[place]).sum(axis=0)]
        return found


class MarginalRelevance:
    """The largest likeness to an item that is shown, times the weight.

    Args:
        likeness: of the candidates.
        count: C.
        weight: of the likeness.
    """

    def __init__(self, likeness: Likeness, count: int, weight: float) -> None:
        self._likeness, self._scale = likeness, weight * STEP
        self._largest: NDArray[np.float32] | None = None
        self.penalties = np.zeros(count)

    def take(self, place: int) -> None:
        """Compare with one more item."""
        found = self._likeness.to(place)
        # In float32, which holds whole numbers up to many times STEP ** -1.
        self._largest = found if self._largest is None else np.maximum(self._largest, found, out=found)
        np.multiply(self._largest, self._scale, out=self.penalties, dtype=np.float64)


class Determinant:
    """Minus the logarithm of what of an item those that are shown do not span, times the weight.

    Where they span all of it, the least that counts as news takes its place: such items come by utility.

    Args:
        likeness: of the candidates, the kernel.
        count: C.
        weight: of the logarithm.
        wanted: places of the slate.
    """

    def __init__(self, likeness: Likeness, count: int, weight: float, wanted: int) -> None:
        self._likeness, self._weight = likeness, weight
        self.penalties = np.zeros(count)
        # All in units of STEP: what is spanned is then counted in its root.
        self._news = np.full(count, 1 / STEP)
        self._spanned = np.empty((min(likeness.rank, wanted), count))  # (places so far, C), by rows
        self._rank = 0
        self._least = np.ones(count)

    def take(self, place: int) -> None:
        """Take away what one more item spans."""
        own = float(self._news[place])
        rank = self._rank
        if own <= 1 or rank == len(self._spanned):
            return
        row, found = self._spanned[rank], self._likeness.to(place)
        if rank:
            before = self._spanned[:rank]
            before[:, place].dot(before, row)
            np.subtract(found, row, out=row)
            row *= own**-0.5
        else:
            np.multiply(found, own**-0.5, out=row)
        self._rank = rank + 1
        lost = self.penalties  # its memory; what it said is not read any more
        np.multiply(row, row, out=lost)
        self._news -= lost
        np.rint(self._news, out=lost)
        np.maximum(lost, self._least, out=lost)
        lost *= STEP
        np.log(lost, out=lost)
        lost *= -self._weight
