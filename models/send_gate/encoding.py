"""The features of decisions as one matrix for linear heads: numbers, their squares and all products of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.errors import BadRequest
from runtime.send_gate.arithmetic import inputs_of, raw_inputs
from workflows.core.errors import DataError

__all__ = ["Encoding", "fit_encoding"]

Floats = NDArray[np.float64]
# A column with as many values at most is one of kinds, not of sizes.
MOST_KINDS = 3
LEAST_SPREAD = 1e-9


class Encoding(msgspec.Struct, frozen=True):
    """How columns become the inputs of the heads.

    Attributes:
        names: columns, in order.
        kinds: column -> its values but the first, each of which becomes an input of 0 and 1.
        logged: columns of which log(1 + x) is taken: none of their values is below 0.
        alone: columns that are in no product.
        mean, scale: of every input behind the constant.
    """

    names: list[str]
    kinds: dict[str, list[float]]
    logged: list[str]
    alone: list[str]
    mean: list[float]
    scale: list[float]

    @property
    def size(self) -> int:
        """Inputs, with the constant."""
        return 1 + len(self.mean)

    def inputs(self, columns: Mapping[str, NDArray]) -> Floats:
        """Inputs of some decisions.

        Args:
            columns: name -> numbers [R].

        Returns:
            float64 [R, size], the first column 1.

        Raises:
            DataError: a column is missing, or holds what is no finite number.
        """
        try:
            return inputs_of(self, columns)
        except BadRequest as error:
            raise DataError(str(error)) from None


def fit_encoding(columns: Mapping[str, NDArray], alone: Sequence[str] = ()) -> Encoding:
    """See which columns are kinds and which are sizes, and how they spread.

    Args:
        columns: name -> numbers [R] of the log.
        alone: columns of kinds that are in no product, such as the weekday.

    Raises:
        DataError: there is no column, or one holds what is no finite number.
    """
    if not columns:
        raise DataError("the log of decisions has no column with numbers that could be a feature")
    kinds, logged = {}, []
    for name, given in columns.items():
        values = _finite(name, given)
        found = np.unique(values)
        if len(found) <= MOST_KINDS or name in alone:
            kinds[name] = found[1:].tolist()
        elif found[0] >= 0:
            logged.append(name)
    if not any(kinds.get(name, [0.0]) for name in columns):
        raise DataError(f"no feature of the log differs between its decisions ({', '.join(columns)}); add some that do")
    encoding = Encoding(list(columns), kinds, logged, [name for name in alone if name in columns], [], [])
    raw = raw_inputs(encoding, columns)
    spread = raw.std(axis=0)
    return msgspec.structs.replace(
        encoding, mean=raw.mean(axis=0).tolist(), scale=np.where(spread > LEAST_SPREAD, spread, 1.0).tolist()
    )


def _finite(name: str, given: NDArray) -> Floats:
    values = np.asarray(given, np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"column {name!r} of the decisions has values that are no finite numbers; fill them up")
    return values
