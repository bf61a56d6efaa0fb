"""Graphs that differ from the standard one, and a step that the server finds in this file alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.spec import ChainSpec, Tensor
from runtime.step import Arrays, Step, load_array


class Promote(Step):
    """Adds to the ranking scores of every item what a file says."""

    name = "promote"

    def __init__(self, factor: float) -> None:
        super().__init__(factor=factor)
        self._factor = factor

    def inputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        return (
            Tensor("candidates", "INT32", spec.num_candidates),
            Tensor("ranking_score", "FP32", spec.num_candidates),
        )

    def outputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        return (Tensor("ranking_score", "FP32", spec.num_candidates),)

    def files(self, spec: ChainSpec) -> tuple[str, ...]:
        return ()

    def open(self, folder: Path, spec: ChainSpec) -> None:
        self._boosts = load_array(folder / "boosts.npy")

    def __call__(self, batch: Mapping[str, NDArray]) -> Arrays:
        boosts = self._factor * self._boosts[np.maximum(batch["candidates"], 0)]
        return {"ranking_score": (batch["ranking_score"] + boosts).astype(np.float32)}


class Reversed(Step):
    """Ranks by the negative retrieval score."""

    name = "reversed"

    def inputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        return (Tensor("retrieval_score", "FP32", spec.num_candidates),)

    def outputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        return (Tensor("ranking_score", "FP32", spec.num_candidates),)

    def __call__(self, batch: Mapping[str, NDArray]) -> Arrays:
        return {"ranking_score": -batch["retrieval_score"]}


class Turned(Step):
    """After Order: the slate of each user from its end."""

    name = "turned"

    def inputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        return (*spec.response, Tensor("num_wanted", "INT32"))

    def outputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        return spec.response

    def __call__(self, batch: Mapping[str, NDArray]) -> Arrays:
        turned = {name: batch[name].copy() for name in ("item_id", "score", "num_items", "path")}
        for user, count in enumerate(batch["num_items"][:, 0].tolist()):
            for name in ("item_id", "score"):
                turned[name][user, :count] = batch[name][user, :count][::-1]
        return turned


class FirstItems(Step):
    """The first items of the catalogue for everybody, without candidates."""

    name = "first_items"

    def inputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        return (Tensor("num_wanted", "INT32"),)

    def outputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        return spec.response

    def files(self, spec: ChainSpec) -> tuple[str, ...]:
        return ("ids/items.npy",)

    def open(self, folder: Path, spec: ChainSpec) -> None:
        self._ids = load_array(folder / "ids/items.npy")

    def __call__(self, batch: Mapping[str, NDArray]) -> Arrays:
        wanted = batch["num_wanted"]
        kept = np.arange(int(wanted.max())) < wanted
        return {
            "item_id": np.where(kept, self._ids[: kept.shape[1]], -1),
            "score": kept.astype(np.float32),
            "num_items": wanted.copy(),
            "path": np.full(wanted.shape, b"context", object),
        }


def parts(folder: Path) -> Any:
    """What a graph is made of."""
    from merlin.dag import ColumnSelector
    from merlin.systems.dag.ensemble import Ensemble

    from ensemble.operators.operator import ChainOperator, schema_of
    from runtime.sources.chosen import chosen_sources, merge_of
    from runtime.steps.features import EncodeRequest
    from runtime.steps.query import QueryTower

    spec = ChainSpec.load(folder)
    step = partial(ChainOperator, chain=folder)
    features = ColumnSelector([tensor.name for tensor in spec.request]) >> step(EncodeRequest())
    query = features >> step(QueryTower())
    found = [query + features >> step(source) for source in chosen_sources(spec)]
    candidates = found[0] + found[1] + found[2] + query + features >> step(merge_of(spec))
    return step, features, query, candidates, lambda slate: Ensemble(slate, schema_of(spec.request))


def without_ranker(folder: Path) -> Any:
    from runtime.steps.order import Order

    step, features, _, candidates, ensemble = parts(folder)
    return ensemble(candidates + features >> step(Order(score="retrieval_score", is_logit=False)))


def with_promotion(folder: Path) -> Any:
    from runtime.steps.order import Order
    from runtime.steps.rank import Rank

    step, features, query, candidates, ensemble = parts(folder)
    boosts = Path(folder).parent / "boosts.npy"
    np.save(boosts, np.where(np.arange(ChainSpec.load(folder).num_items) % 7 == 0, 1.0, 0.0))
    scores = candidates + query + features >> step(Rank())
    promoted = candidates + scores >> step(Promote(factor=50.0), files={"boosts.npy": boosts})
    return ensemble(candidates + promoted + features >> step(Order()))


def with_another_ranker(folder: Path) -> Any:
    from runtime.steps.order import Order

    step, features, _, candidates, ensemble = parts(folder)
    scores = candidates >> step(Reversed())
    return ensemble(candidates + scores + features >> step(Order()))


def order_without_scores(folder: Path) -> Any:
    from runtime.steps.order import Order

    step, features, _, candidates, ensemble = parts(folder)
    return ensemble(candidates + features >> step(Order()))


def ends_too_early(folder: Path) -> Any:
    *_, candidates, ensemble = parts(folder)
    return ensemble(candidates)


def two_of_one_name(folder: Path) -> Any:
    from runtime.steps.order import Order

    step, features, _, candidates, ensemble = parts(folder)
    scores = candidates >> step(Reversed())
    again = candidates >> step(Reversed())
    return ensemble(candidates + (scores + features >> step(Order(), name="reversed")) + again >> step(Order()))


def reads_the_request_twice(folder: Path) -> Any:
    from merlin.dag import ColumnSelector

    from runtime.steps.features import EncodeRequest
    from runtime.steps.order import Order

    step, _, _, candidates, ensemble = parts(folder)
    spec = ChainSpec.load(folder)
    other = ColumnSelector([tensor.name for tensor in spec.request]) >> step(EncodeRequest(), name="encode_again")
    scores = candidates >> step(Reversed())
    return ensemble(candidates + scores + other >> step(Order()))


def with_a_foreign_operator(folder: Path) -> Any:
    from merlin.dag.ops.rename import Rename

    from runtime.steps.order import Order

    step, features, _, candidates, ensemble = parts(folder)
    renamed = candidates >> Rename(postfix="_again")
    scores = candidates >> step(Reversed())
    return ensemble(candidates + scores + renamed + features >> step(Order()))


def turned_slates(folder: Path) -> Any:
    from runtime.steps.order import Order
    from runtime.steps.rank import Rank

    step, features, query, candidates, ensemble = parts(folder)
    scores = candidates + query + features >> step(Rank())
    slate = candidates + scores + features >> step(Order())
    return ensemble(slate + features >> step(Turned()))


def without_candidates(folder: Path) -> Any:
    step, features, *_, ensemble = parts(folder)
    return ensemble(features >> step(FirstItems()))
