"""What a display of each item is worth, and what more each outcome is: chain.order.utility as one array.

Each name of a task stands for 1 where it happens and 0 where it does not; the utility is the formula's expectation.
A task happens only after its parent: a product of two on one line of parents is the later of them, whatever the
formula writes. So every formula comes down to a worth of the display and one of each task, which depend on the item
alone: they are computed for the catalogue at export, and the server adds probability times worth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ensemble.export.formula import Formula, Name, Number, names_in, parse_formula
from runtime.ranker.spec import TaskSpec
from workflows.core.errors import ConfigError, DataError
from workflows.tables.values import floats_of, is_number

__all__ = ["KEY", "worth_of"]

KEY = "chain.order.utility"
# The place of what does not depend on an outcome.
ALWAYS = -1

Value = float | NDArray[np.float64]
# The worth of the display, and of each task that happens, by its place.
Linear = dict[int, Value]


def worth_of(text: str, tasks: Sequence[TaskSpec], items: Path) -> NDArray[np.float32]:
    """The worth of displays and of outcomes by item.

    Args:
        text: the formula.
        tasks: T of them, each after its parent.
        items: data/items.parquet, by item_row.

    Returns:
        float32 [N, 1 + T].

    Raises:
        ConfigError: it is no formula, a name is neither a task nor a column, or it is not linear in the tasks.
        DataError: a column has no number in some row, or the formula has no finite value there.
    """
    formula = parse_formula(KEY, text)
    places = {task.name: place for place, task in enumerate(tasks)}
    columns = _columns(items, [n for n in dict.fromkeys(names_in(formula)) if n not in places], list(places))
    linear = _Expectation(text, places, [task.parent for task in tasks], columns).of(formula)
    if not any(place >= 0 for place in linear):
        raise ConfigError(f"{KEY} = {text!r} names no task, so that all users would see the same order; name one")
    worth = np.zeros((pq.read_metadata(items).num_rows, 1 + len(tasks)), np.float32)
    with np.errstate(over="ignore"):
        for place, value in linear.items():
            worth[:, 1 + place] = value
    bad = ~np.isfinite(worth).all(axis=1)
    if bad.any():
        raise DataError(
            f"{KEY} = {text!r} has no finite value for {bad.sum():,} of {len(bad):,} items, the first in row "
            f"{int(np.argmax(bad))} of data/items.parquet; a column is 0 under a division or too large: correct it"
        )
    return worth


def _columns(items: Path, names: Sequence[str], tasks: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    known = pq.read_schema(items).names
    found = {}
    for name in names:
        if name not in known:
            raise ConfigError(
                f"{KEY}: {name!r} is neither a task ({', '.join(tasks) or 'none is configured'}) nor a column of the "
                f"items ({', '.join(known)})"
            )
        found[name] = _numbers(name, pq.read_table(items, columns=[name])[name])
    return found


def _numbers(name: str, column: pa.ChunkedArray) -> NDArray[np.float64]:
    kind = column.type
    if not (is_number(kind) or pa.types.is_boolean(kind)):
        raise ConfigError(f"{KEY}: column {name!r} of the items holds {kind}; expected numbers")
    values = floats_of(column)
    bad = ~np.isfinite(values)
    if bad.any():
        raise DataError(
            f"{KEY}: column {name!r} of the items has no number in {bad.sum():,} of {len(bad):,} rows; fill it up"
        )
    return values


class _Expectation:
    """The expectation of a formula, linear in the probabilities of the tasks."""

    def __init__(
        self, text: str, places: Mapping[str, int], parents: Sequence[int], columns: Mapping[str, NDArray[np.float64]]
    ) -> None:
        self._text, self._places, self._columns = text, places, columns
        self._names = {place: name for name, place in places.items()}
        self._lines = [_line(place, parents) for place in range(len(parents))]

    def of(self, formula: Formula) -> Linear:
        if isinstance(formula, Number):
            return {ALWAYS: formula.value}
        if isinstance(formula, Name):
            place = self._places.get(formula.name)
            return {ALWAYS: self._columns[formula.name]} if place is None else {place: 1.0}
        left, right = self.of(formula.left), self.of(formula.right)
        if formula.op in "+-":
            return _added(left, right, 1.0 if formula.op == "+" else -1.0)
        return self._product(left, right) if formula.op == "*" else self._quotient(left, right)

    def _product(self, left: Linear, right: Linear) -> Linear:
        found: Linear = {}
        for one, a in left.items():
            for other, b in right.items():
                found = _added(found, {self._together(one, other): a * b}, 1.0)
        return found

    def _together(self, one: int, other: int) -> int:
        """The task that happens where two do: the later of one line of parents."""
        if one in (ALWAYS, other) or (other >= 0 and one in self._lines[other]):
            return other
        if other == ALWAYS or other in self._lines[one]:
            return one
        names = " and ".join(repr(self._names[place]) for place in (one, other))
        raise ConfigError(
            f"{KEY} = {self._text!r}: {names} are multiplied, and neither comes after the other, so that nothing is "
            "known of how often both happen; add them up instead"
        )

    def _quotient(self, left: Linear, right: Linear) -> Linear:
        tasks = [self._names[place] for place in right if place >= 0]
        if tasks:
            raise ConfigError(f"{KEY} = {self._text!r}: {tasks[0]!r} stands below a division; divide by numbers only")
        with np.errstate(divide="ignore", invalid="ignore"):
            return {place: np.divide(value, right[ALWAYS]) for place, value in left.items()}


def _added(left: Linear, right: Linear, sign: float) -> Linear:
    found = dict(left)
    for place, value in right.items():
        found[place] = found[place] + sign * value if place in found else sign * value
    return found


def _line(place: int, parents: Sequence[int]) -> set[int]:
    """A task with all that must have happened before it."""
    found = {place}
    while parents[place] >= 0:
        place = parents[place]
        found.add(place)
    return found
