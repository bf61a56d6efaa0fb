"""What the features of a decision come to: inputs of the heads, their chances, and the terms that have a price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import BadRequest

__all__ = ["HEADS", "TERMS", "Columns", "advantage", "chance", "inputs_of", "raw_inputs", "terms"]

Floats = NDArray[np.float64]
HEADS = ("open", "opt_out", "visit")
TERMS = ("constant", "open", "open, would not have come", "opt-out")


class Columns(Protocol):
    """How columns become inputs; see `models.send_gate.encoding.Encoding`."""

    @property
    def names(self) -> Sequence[str]:
        """Columns, in order."""

    @property
    def kinds(self) -> Mapping[str, Sequence[float]]:
        """Column -> its values but the first, each of which becomes an input of 0 and 1."""

    @property
    def logged(self) -> Sequence[str]:
        """Columns of which log(1 + x) is taken."""

    @property
    def alone(self) -> Sequence[str]:
        """Columns that are in no product."""

    @property
    def mean(self) -> Sequence[float]:
        """Of every input behind the constant."""

    @property
    def scale(self) -> Sequence[float]:
        """Of every input behind the constant."""


def raw_inputs(columns: Columns, values: Mapping[str, NDArray]) -> Floats:
    """Numbers, flags of kinds, their squares and products, float64 [R, F].

    Args:
        columns: how.
        values: name -> numbers [R].

    Raises:
        BadRequest: a column is missing, or holds what is no finite number.
    """
    single: list[Floats] = []
    crossed: list[tuple[str, Floats]] = []
    for name in columns.names:
        if name not in values:
            raise BadRequest(f"decisions lack the column {name!r}, which the send gate reads")
        given = np.asarray(values[name], np.float64)
        if not np.isfinite(given).all():
            raise BadRequest(f"column {name!r} of the decisions has values that are no finite numbers; fill them up")
        if name in columns.kinds:
            made = [(given == kind).astype(np.float64) for kind in columns.kinds[name]]
        else:
            made = [np.log1p(np.maximum(given, 0.0)) if name in columns.logged else given]
        single += made
        if name not in columns.alone:
            crossed += [(name, one) for one in made]
    products = [
        one * other
        for place, (name, one) in enumerate(crossed)
        for name_of_other, other in crossed[place:]
        if name != name_of_other or name not in columns.kinds
    ]
    return np.stack([*single, *products], axis=1)


def inputs_of(columns: Columns, values: Mapping[str, NDArray]) -> Floats:
    """Inputs of the heads, float64 [R, 1 + F], the first column 1; see `raw_inputs`."""
    raw = raw_inputs(columns, values)
    scaled = (raw - np.asarray(columns.mean)) / np.asarray(columns.scale)
    return np.concatenate([np.ones((len(raw), 1)), scaled], axis=1)


def chance(inputs: Floats, weights: Floats) -> Floats:
    """Probabilities, float64 [R], of inputs [R, F]."""
    found: Floats = 0.5 * (1.0 + np.tanh(0.5 * (inputs @ weights)))
    return found


def terms(opens: Floats, opts_out: Floats, visits: Floats) -> Floats:
    """What a push is priced by, float64 [R, TERMS], of the heads' probabilities [R]: opt_out is once unopened."""
    return np.stack([np.ones_like(opens), opens, opens * (1.0 - visits), (1.0 - opens) * opts_out], axis=1)


def advantage(
    columns: Columns, heads: Mapping[str, Sequence[float]], prices: Sequence[float], values: Mapping[str, NDArray]
) -> tuple[Floats, Floats]:
    """By how many discounted active days sending beats holding, and the probability of an open; float64 [R] each.

    Args:
        columns: how columns become inputs.
        heads: of HEADS, weights of the inputs.
        prices: of TERMS.
        values: see `raw_inputs`.
    """
    inputs = inputs_of(columns, values)
    chances = [chance(inputs, np.asarray(heads[name])) for name in HEADS]
    return np.asarray(terms(*chances) @ np.asarray(prices)), chances[0]
