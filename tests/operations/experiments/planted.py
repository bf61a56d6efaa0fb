"""Chains with something wrong: one that is slow, and one whose slates are empty for some."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from runtime.spec import ChainSpec, Tensor
from runtime.step import Arrays, Step

SLEEP_S = 0.06
NAMES = ("item_id", "score", "num_items", "path")


class Slow(Step):
    """After Order: the slate as it is, late."""

    name = "slow"

    def inputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        return (*spec.response, Tensor("num_wanted", "INT32"))

    def outputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        return spec.response

    def __call__(self, batch: Mapping[str, NDArray]) -> Arrays:
        time.sleep(SLEEP_S)
        return {name: batch[name].copy() for name in NAMES}


class Emptied(Step):
    """After Order: nothing at all for users whose first item has an id of one half of them."""

    name = "emptied"

    def inputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        return (*spec.response, Tensor("num_wanted", "INT32"))

    def outputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        return spec.response

    def __call__(self, batch: Mapping[str, NDArray]) -> Arrays:
        emptied = {name: batch[name].copy() for name in NAMES}
        rows = emptied["item_id"][:, 0] % 2 == 0
        emptied["num_items"][rows], emptied["item_id"][rows], emptied["score"][rows] = 0, -1, 0.0
        return emptied


def _after_order(folder: Path, last: Step) -> Any:
    from runtime.steps.order import Order
    from runtime.steps.rank import Rank
    from tests.ensemble.graphs import parts

    step, features, query, candidates, ensemble = parts(folder)
    scores = candidates + query + features >> step(Rank())
    slate = candidates + scores + features >> step(Order())
    return ensemble(slate + features >> step(last))


def slow(folder: Path) -> Any:
    return _after_order(folder, Slow())


def emptied(folder: Path) -> Any:
    return _after_order(folder, Emptied())
