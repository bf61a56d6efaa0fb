"""How strong diversity is where the config leaves it open: as strong as it may be for what it costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.chain import Chain
from runtime.ranker.sigmoid import sigmoid
from runtime.request import join
from runtime.rerank import SlateRuler
from runtime.slate_spec import VECTORS_FILE, Diversity, SlateSpec
from runtime.spec import POPULARITY
from runtime.step import load_array
from runtime.steps.order import Order, utilities_of
from runtime.stream.live import without_live_state
from workflows.core.errors import ConfigError

__all__ = ["Chosen", "chosen_strength", "weight_of"]

NUM_USERS = 500
STRENGTHS = np.arange(1, 20) / 20


class Chosen(NamedTuple):
    """A strength, and what it does to the slates of some users.

    Attributes:
        strength: 0: none was cheap enough.
        loss: share of what slates are worth without diversity that they lose.
        likeness: mean cosine of the items of a slate without diversity, and with it.
        num_users: whose slates they are.
    """

    strength: float
    loss: float
    likeness: tuple[float, float]
    num_users: int


def weight_of(strength: float) -> float:
    """What a strength weighs beside the utility."""
    return strength / (1 - strength)


def chosen_strength(folder: Path, vectors: NDArray[np.float32], kind: str, max_loss: float) -> Chosen:
    """The largest of twenty steps with which slates lose at most so much of what they are worth.

    An item is worth its probability, or its utility where there is a formula, and counts less by the logarithm of its
    place, as in NDCG; all is what the models say, no measurement.

    Args:
        folder: the chain without diversity, compiled.
        vectors: of the items, float32 [N, D].
        kind: of diversity.
        max_loss: share of the worth.

    Raises:
        ConfigError: the last step of the chain's graph is not the one that orders by rules.
    """
    rows, utilities, worth, spec, size = _asked(folder)
    files: dict[str, NDArray] = {name: load_array(folder / name) for name in spec.files} | {VECTORS_FILE: vectors}
    wanted = np.full(len(rows), size)

    def slates(strength: float) -> tuple[float, float]:
        diversity = Diversity(kind, weight_of(strength)) if strength else None
        ruler = SlateRuler(replace(spec, diversity=diversity), files)
        places = ruler.ordered(ruler.boosted(utilities, rows), rows, wanted)
        found = np.where(places >= 0, np.take_along_axis(worth, np.maximum(places, 0), 1), 0.0)
        total = float((found / np.log2(np.arange(places.shape[1]) + 2)).sum())
        return total, _likeness(vectors, np.where(places >= 0, np.take_along_axis(rows, np.maximum(places, 0), 1), -1))

    plain, alike = slates(0.0)
    if plain <= 0:
        return Chosen(0.0, 0.0, (alike, alike), len(rows))
    found = Chosen(0.0, 0.0, (alike, alike), len(rows))
    low, high = 0, len(STRENGTHS)
    while low < high:  # the stronger, the less they are worth
        middle = (low + high) // 2
        total, likeness = slates(float(STRENGTHS[middle]))
        if 1 - total / plain <= max_loss:
            found, low = Chosen(float(STRENGTHS[middle]), 1 - total / plain, (alike, likeness), len(rows)), middle + 1
        else:
            high = middle
    return found


def _asked(folder: Path) -> tuple[NDArray, NDArray, NDArray, SlateSpec, int]:
    """Candidates, their utilities and worth [U, C] of some users; the rules of the chain, and the size of a slate."""
    with without_live_state():
        chain = Chain.load(folder)
    order, reads, spec = chain.nodes[-1].step, chain.plan.nodes[-1].reads, chain.spec
    if not isinstance(order, Order):
        raise ConfigError(
            f"chain.order.strength = 'auto' is chosen by what the step Order orders, and the last step of the graph is "
            f"{type(order).__name__}; give a number"
        )
    key = order.key(spec)
    is_logit = key == "ranking_score"
    ids = load_array(folder / "ids/users.npy")
    chosen = np.unique(np.linspace(0, len(ids) - 1, min(NUM_USERS, len(ids))).astype(np.int64))
    found: list[tuple[NDArray, NDArray, NDArray]] = []
    for start in range(0, len(chosen), spec.max_batch_size):
        part = ids[chosen[start : start + spec.max_batch_size], None, None]
        requests = [{"user_id": one.astype(object) if ids.dtype.kind == "S" else one} for one in part]
        arrays: dict[str, Any] = {}
        chain.nodes[0].encode(arrays, join([chain.request_step.parse(request) for request in requests]))
        for node in chain.nodes[1:-1]:
            node.run(arrays)
        rows, scores, popular = (
            arrays[reads["candidates"]],
            arrays[reads[key]],
            arrays[reads["path_code"]] == POPULARITY,
        )
        worth = np.where(popular, scores, sigmoid(scores)) if is_logit else scores
        found.append((rows, utilities_of(rows, scores, popular), worth.astype(np.float64)))
    rows, utilities, worth = (np.concatenate(part) for part in zip(*found, strict=True))
    return rows, utilities, worth, (spec.order and spec.order.slates) or SlateSpec(), spec.slate_size


def _likeness(vectors: NDArray[np.float32], slates: NDArray) -> float:
    """Mean cosine of two items of a slate; of padding there is none."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    own = (vectors / np.where(lengths > 0, lengths, 1))[slates]
    own[slates < 0] = 0
    count = (slates >= 0).sum(axis=1)
    sums = np.square(own.sum(axis=1)).sum(axis=1) - np.square(own).sum(axis=(1, 2))
    pairs = count * (count - 1)
    return float((sums[pairs > 0] / pairs[pairs > 0]).mean()) if pairs.any() else 0.0
