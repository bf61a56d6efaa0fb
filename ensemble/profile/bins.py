"""Bins of a column: what is counted of its values, the same in training and in service."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = [
    "MOST_VALUES",
    "NUM_BINS",
    "Bins",
    "Histogram",
    "NumberBins",
    "ValueBins",
    "effective",
    "number_bins",
    "value_bins",
]

# The values of a column that have a bin of their own, the most frequent ones; all others share one.
MOST_VALUES = 200
NUM_BINS = 10


@dataclass(frozen=True)
class NumberBins:
    """Bins of numbers: those between the edges, then one of nulls and NaN, then one of infinite values.

    Attributes:
        edges: float64 [E], ascending; the first bin ends below edges[0], the last begins at edges[-1].
    """

    edges: NDArray[np.float64]

    @property
    def size(self) -> int:
        """E + 3 bins."""
        return len(self.edges) + 3

    @property
    def compared(self) -> slice:
        """The bins that a distance compares: those of finite values."""
        return slice(0, len(self.edges) + 1)

    @property
    def names(self) -> list[str]:
        """What each bin holds."""
        texts = [f"{edge:.6g}" for edge in self.edges]
        between = [f"{low} to {high}" for low, high in itertools.pairwise(texts)]
        ends = [f"below {texts[0]}", *between, f"{texts[-1]} and more"] if texts else ["any number"]
        return [*ends, "null", "infinite"]

    def codes(self, column: pa.Array | NDArray) -> NDArray[np.int64]:
        """The bin of each value, int64 [n]."""
        if isinstance(column, pa.Array):
            column = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        values = np.asarray(column, np.float64)
        found = np.searchsorted(self.edges, values, side="right")
        finite = np.isfinite(values)
        if not finite.all():
            found = np.where(finite, found, np.where(np.isnan(values), self.size - 2, self.size - 1))
        return found


@dataclass(frozen=True)
class ValueBins:
    """Bins of codes or texts: one for each value, then one of all other values, then one of nulls.

    Attributes:
        values: int64 [V], or texts (str) [V]; V <= MOST_VALUES.
    """

    values: NDArray

    @property
    def size(self) -> int:
        """V + 2 bins."""
        return len(self.values) + 2

    @property
    def compared(self) -> slice:
        """The bins that a distance compares: all."""
        return slice(0, self.size)

    @property
    def names(self) -> list[str]:
        """What each bin holds."""
        return [*map(str, self.values.tolist()), "other values", "null"]

    def codes(self, column: pa.Array | NDArray) -> NDArray[np.int64]:
        """The bin of each value, int64 [n]."""
        array = column if isinstance(column, pa.Array) else pa.array(column)
        known = _value_set(self.values)
        if array.type != known.type:
            array = _as_type(array, known.type)
        at = pc.index_in(array, value_set=known, skip_nulls=True)
        found: NDArray[np.int64] = at.fill_null(len(self.values)).to_numpy(zero_copy_only=False).astype(np.int64)
        if array.null_count:
            found[array.is_null().to_numpy(zero_copy_only=False)] = self.size - 1
        return found


Bins = NumberBins | ValueBins


@dataclass(frozen=True)
class Histogram:
    """How many values fell into each bin.

    Attributes:
        bins: K of them.
        counts: float64 [K], sums of weights.
        num: of how many independent ones the counts are worth, for their noise.
    """

    bins: Bins
    counts: NDArray[np.float64]
    num: float

    @classmethod
    def of(
        cls,
        bins: Bins,
        column: pa.Array | NDArray,
        num: float | None = None,
        weights: NDArray[np.float64] | None = None,
    ) -> Histogram:
        """Count a column.

        Args:
            bins: of its values.
            column: [n].
            num: see the attribute; absent: the values are independent, and with weights worth (sum w)^2 / sum w^2.
            weights: [n] of the values; absent: 1 each.
        """
        counts = np.bincount(bins.codes(column), weights, bins.size).astype(np.float64)
        if num is None:
            num = float(len(column)) if weights is None else effective(weights)
        return cls(bins, counts, num)


def effective(weights: NDArray[np.float64]) -> float:
    """Of how many values of one weight the mean of these is worth; 0 for none."""
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def number_bins(values: NDArray, num_bins: int = NUM_BINS) -> NumberBins:
    """Bins that hold about as many of the finite values each; fewer where values repeat.

    Args:
        values: [n] numbers, NaN and infinite ones among them or not.
        num_bins: at most.
    """
    finite = np.asarray(values, np.float64)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return NumberBins(np.empty(0, np.float64))
    return NumberBins(np.unique(np.quantile(finite, np.arange(1, num_bins) / num_bins)))


def value_bins(column: pa.Array, most: int = MOST_VALUES) -> ValueBins:
    """Bins of the most frequent values; of equally frequent ones the lower first.

    Args:
        column: of integers or texts, with nulls or without.
        most: values with a bin of their own.
    """
    counted = pc.value_counts(column.drop_null())
    values, counts = counted.field("values"), counted.field("counts").to_numpy()
    if len(values) > most:
        # The rest would take longer to sort than everything else here.
        kept = np.flatnonzero(counts >= np.partition(counts, -most)[-most])
        values, counts = values.take(pa.array(kept)), counts[kept]
    plain = np.array(values.to_pylist(), np.int64 if pa.types.is_integer(column.type) else str)
    return ValueBins(plain[np.lexsort((plain, -counts))[:most]])


def _value_set(values: NDArray) -> pa.Array:
    kind = pa.int64() if values.dtype.kind == "i" else pa.string()
    return pa.array(values.tolist(), kind)


def _as_type(array: pa.Array, kind: Any) -> pa.Array:
    """Values of another type than the reference's: what cannot be one of them becomes an empty text or no number."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
        return pa.array([None if value is None else value.decode("utf-8", "replace") for value in array.to_pylist()])
    return array.cast(kind, safe=False)
