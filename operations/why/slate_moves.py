"""What the rules for slates did to one slate: beside the same slate without a kind of them, and without any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from operations.why.way import Way
from runtime.rerank import SlateRuler
from runtime.slate_spec import SlateSpec
from runtime.sources.base import real
from runtime.steps.order import Order

__all__ = ["RuleMoves", "kept_by_rules", "rule_moves"]

# By kind, what a chain without rules of it has.
NOTHING: Mapping[str, Any] = {
    "boosts": (),
    "pins": (),
    "caps": (),
    "floors": (),
    "diversity": None,
    "calibration": None,
}


class RuleMoves(msgspec.Struct, frozen=True):
    """What one kind of rules for slates did to a slate, beside the same slate without that kind.

    Attributes:
        kind: in words.
        brought: rows of the items that are shown for it alone, by place.
        pushed_out: rows of the items that would be shown without it.
        num_moved: items that are shown either way, at another place.
    """

    kind: str
    brought: list[int]
    pushed_out: list[int]
    num_moved: int


def kept_by_rules(way: Way) -> int | None:
    """How many of the items that would be shown without any rule are shown; None where the chain has no rules."""
    if (spec := _spec(way)) is None:
        return None
    return len(np.intersect1d(_slate(way, None), _slate(way, spec)))


def rule_moves(way: Way) -> Iterator[RuleMoves]:
    """What each kind of rules did to the slate, as of the instant that it is for."""
    if (spec := _spec(way)) is None:
        return
    shown = _slate(way, spec).tolist()
    for kind, nothing in NOTHING.items():
        if getattr(spec, kind) == nothing:
            continue
        other = _slate(way, replace(spec, **{kind: nothing})).tolist()
        brought, pushed_out = ([row for row in a if row not in b] for a, b in ((shown, other), (other, shown)))
        num_moved = sum(row in other and shown.index(row) != other.index(row) for row in shown)
        yield RuleMoves(kind, brought, pushed_out, num_moved)


def _spec(way: Way) -> SlateSpec | None:
    """The rules of the chain's last step; None where it has none."""
    place, order = way.nodes.places.order, way.nodes.spec.order
    return None if place is None or order is None else order.slates


def _slate(way: Way, spec: SlateSpec | None) -> NDArray[np.int64]:
    """The rows of the slate that these rules would order."""
    assert way.nodes.places.order is not None
    step = way.nodes.opened[way.nodes.places.order].step
    assert isinstance(step, Order)
    ruler = None if spec is None else SlateRuler.open(spec, way.nodes.folder).now()
    found: NDArray[np.int64] = real(step.as_if(ruler, way.nodes.batch(way.nodes.places.order, way.arrays))[way.user])
    return found
