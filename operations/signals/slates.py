"""The requests of one window as arrays, each with what it stands for."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ensemble.profile.bins import effective
from operations.signals.kinds import Measured

__all__ = ["LEAST", "Sample", "sample_of"]

# Fewer users than this say nothing of a share or a mean.
LEAST = 20


@dataclass(frozen=True)
class Sample:
    """Rows of the log that statistics may be made of.

    Attributes:
        table: n rows, see `operations.log.schema`.
        weights: float64 [n], requests that each stands for.
        users: int64 [n], equal where the user is.
    """

    table: pa.Table
    weights: NDArray[np.float64] = field(init=False)
    users: NDArray[np.int64] = field(init=False)
    _users: InitVar[NDArray[np.int64] | None] = None

    def __post_init__(self, _users: NDArray[np.int64] | None) -> None:
        weights = self.table["weight"].to_numpy().astype(np.float64)
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "users", self._coded() if _users is None else _users)

    def _coded(self) -> NDArray[np.int64]:
        keys = self.table["user_key"].combine_chunks()
        codes = pc.dictionary_encode(keys).indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        # A refused request names no user.
        return np.where(codes < 0, codes.max(initial=-1) + 1 + np.arange(len(codes)), codes)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def numbers(self, name: str) -> NDArray:
        """A column without nulls as an array [n]."""
        values: NDArray = self.table[name].to_numpy()
        return values

    def lists(self, name: str) -> tuple[NDArray, NDArray[np.int64]]:
        """The values of a column of lists, and the row of each."""
        column = self.table[name].combine_chunks()
        return pc.list_flatten(column).to_numpy(zero_copy_only=False), pc.list_parent_indices(column).to_numpy()

    def worth(self, chosen: NDArray | slice = slice(None)) -> float:
        """Of how many users of equal weight some rows are worth."""
        return effective(np.bincount(self.users[chosen], self.weights[chosen]).astype(np.float64))

    def where(self, chosen: NDArray[np.bool_]) -> Sample:
        """Some of the rows."""
        return Sample(self.table.filter(pa.array(chosen)), self.users[chosen])

    def share(self, signal: str, which: NDArray[np.bool_], slice_: str = "") -> Measured:
        """The share of rows [n]; its spread is that of as many independent users."""
        num = self.worth()
        value = float(self.weights @ which / self.weights.sum()) if num else np.nan
        smooth = (value * num + 1) / (num + 2)
        spread = float(np.sqrt(smooth * (1 - smooth) / num)) if num else np.nan
        return Measured(signal, slice_, value, 0.0, spread, len(self), num, num >= LEAST)

    def mean(self, signal: str, values: NDArray, slice_: str = "") -> Measured:
        """The mean of numbers [n]; NaN ones count for nothing."""
        is_one = np.isfinite(values)
        weights, num = self.weights[is_one], self.worth(is_one)
        if not num:
            return Measured(signal, slice_, np.nan, 0.0, np.nan, 0, 0.0, False)
        value = float(weights @ values[is_one] / weights.sum())
        spread = float(np.sqrt(weights @ (values[is_one] - value) ** 2 / weights.sum() / num))
        return Measured(signal, slice_, value, 0.0, spread, int(is_one.sum()), num, num >= LEAST)


def sample_of(table: pa.Table) -> Sample:
    """The rows of a window that are of the sample, each request once."""
    reasons = pc.equal(table["reason"].cast(pa.string()), "hash")
    return Sample(table.filter(pc.and_(reasons, pc.greater(table["weight"], 0))))
