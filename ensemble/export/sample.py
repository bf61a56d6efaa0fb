"""Slates of some users of a chain, before its last step orders them: what an export chooses a rule's strength by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.chain import Chain
from runtime.ranker.sigmoid import sigmoid
from runtime.request import join
from runtime.rerank import SlateRuler
from runtime.slate_spec import SlateSpec
from runtime.spec import POPULARITY, encoded
from runtime.step import load_array
from runtime.steps.order import Order, utilities_of
from runtime.stream.live import without_live_state
from workflows.core.errors import ConfigError

__all__ = ["NUM_USERS", "Sample", "sample_of"]

NUM_USERS = 500


class Sample(NamedTuple):
    """What slates of some users are made of.

    Attributes:
        rows: candidates int32 [U, C].
        utilities: float32 [U, C], without boosts.
        worth: float64 [U, C], what showing an item is worth by the models: its probability, or its utility where there
            is a formula.
        history: int32 [U, L], codes of items that the users took.
        spec: the rules of the chain.
        files: what these read, by file.
        size: places of a slate.
    """

    rows: NDArray[np.int32]
    utilities: NDArray[np.float32]
    worth: NDArray[np.float64]
    history: NDArray[np.int32]
    spec: SlateSpec
    files: Mapping[str, NDArray]
    size: int

    def slates(self, spec: SlateSpec, further: Mapping[str, NDArray]) -> NDArray[np.int64]:
        """Places in the candidates of slates that follow other rules, [U, S]; NO_PLACE: none.

        Args:
            spec: the rules.
            further: arrays of the items that these read and the chain's do not, by file.
        """
        ruler = SlateRuler(spec, {**self.files, **further})
        utilities = ruler.boosted(self.utilities, self.rows)
        return ruler.ordered(utilities, self.rows, np.full(len(self.rows), self.size), self.history)

    def items(self, places: NDArray[np.int64]) -> NDArray[np.int32]:
        """Item rows of slates, [U, S]; -1: none."""
        return np.where(places >= 0, np.take_along_axis(self.rows, np.maximum(places, 0), 1), -1)

    def total_worth(self, places: NDArray[np.int64]) -> float:
        """What slates are worth together; an item counts less by the logarithm of its place, as in NDCG."""
        found = np.where(places >= 0, np.take_along_axis(self.worth, np.maximum(places, 0), 1), 0.0)
        return float((found / np.log2(np.arange(places.shape[1]) + 2)).sum())


def sample_of(folder: Path, key: str) -> Sample:
    """Of users spread evenly over all.

    Args:
        folder: a compiled chain.
        key: of the config, which is chosen by them.

    Raises:
        ConfigError: the last step of the chain's graph is not the one that orders by rules.
    """
    with without_live_state():
        chain = Chain.load(folder)
    order, reads, spec = chain.nodes[-1].step, chain.plan.nodes[-1].reads, chain.spec
    if not isinstance(order, Order):
        raise ConfigError(
            f"{key} is chosen by what the step Order orders, and the last step of the graph is {type(order).__name__}; "
            "give a number"
        )
    score = order.key(spec)
    ids = load_array(folder / "ids/users.npy")
    chosen = np.unique(np.linspace(0, len(ids) - 1, min(NUM_USERS, len(ids))).astype(np.int64))
    found: list[tuple[NDArray, ...]] = []
    for start in range(0, len(chosen), spec.max_batch_size):
        part = ids[chosen[start : start + spec.max_batch_size], None, None]
        requests = [{"user_id": one.astype(object) if ids.dtype.kind == "S" else one} for one in part]
        arrays: dict[str, Any] = {}
        chain.nodes[0].encode(arrays, join([chain.request_step.parse(request) for request in requests]))
        for node in chain.nodes[1:-1]:
            node.run(arrays)
        rows, scores = arrays[reads["candidates"]], arrays[reads[score]]
        popular = arrays[reads["path_code"]] == POPULARITY
        worth = np.where(popular, scores, sigmoid(scores)) if score == "ranking_score" else scores
        history = arrays[encoded(spec.history_feature)]
        found.append((rows, utilities_of(rows, scores, popular), worth.astype(np.float64), history))
    slates = (spec.order and spec.order.slates) or SlateSpec()
    files = {name: load_array(folder / name) for name in slates.files}
    rows, utilities, worth, history = (np.concatenate(part) for part in zip(*found, strict=True))
    return Sample(rows, utilities, worth, history, slates, files, spec.slate_size)
