"""Choose the ridge, the walks, their share and the towers', and what recent items count, by NDCG on valid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.baselines.base import top_k
from models.metrics.ranking import per_user
from models.neighbours.blend import Blend
from models.neighbours.config import NeighboursConfig
from models.neighbours.counts import recent_matrix
from models.neighbours.weights import Weights, spread
from models.retrieval.validation import ValidationSet
from runtime.neighbours import Recency
from workflows.core import console

__all__ = ["Choice", "ValidationUsers", "choose", "ndcg"]

BLOCK_CELLS = 20_000_000
SCALE_USERS = 500
EQUAL_PARTS = 0.5
PLAIN = Recency()

# Positions of validation users [B] -> their scores of the whole catalogue, float32 [B, N]
Scores = Callable[[NDArray[np.int64]], NDArray[np.float32]]


class Choice(msgspec.Struct, frozen=True):
    """What was chosen, and everything that was measured on the way.

    Attributes:
        ridge, walk: positions of the chosen l2 and of the chosen power of the walks among those that were fitted.
        blend: of the regression and the walks.
        recency: how much more a user's latest items count.
        tower_weight, neighbour_weight: of the two scores in the merged one.
        measured: {"walk_power", "l2", "walk_share", "recency_boost", "recency_decay" or "tower_share": value, "ndcg":
            mean over the validation users} in order.
    """

    ridge: int
    walk: int
    blend: Blend
    recency: Recency
    tower_weight: float
    neighbour_weight: float
    measured: list[dict[str, float]]


class ValidationUsers(msgspec.Struct, frozen=True):
    """The validation users, aligned.

    Attributes:
        valid: their inputs, relevant and seen items.
        seen: float32 [V, N], what they had seen at the end of training.
        history: int32 [V, L], the latest of it, oldest first, padded right with -1.
        embedded: float32 [V, D], their query embeddings.
        item_embeddings: float32 [N, D].
    """

    valid: ValidationSet
    seen: sparse.csr_matrix
    history: NDArray[np.int32]
    embedded: NDArray[np.float32]
    item_embeddings: NDArray[np.float32]

    def towers(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """The two towers' scores of the whole catalogue."""
        scores: NDArray[np.float32] = self.embedded[positions] @ self.item_embeddings.T
        return scores

    def neighbours(self, weights: sparse.csr_matrix, recency: Recency = PLAIN) -> Scores:
        """The item-item scores of the whole catalogue; `weights` [N, N] by the item that is scored."""
        by_source = weights.T.tocsr()
        counted = (self.seen + recent_matrix(self.history, self.seen.shape[1], recency)).tocsr()
        return lambda positions: np.asarray((counted[positions] @ by_source).toarray(), np.float32)


def choose(weights: Weights, users: ValidationUsers, config: NeighboursConfig) -> Choice:
    """Choose the settings one after the other; without validation users, take the first value of each.

    Args:
        weights: fitted on the train split.
        users: those of the valid split.
        config: the values to choose from.
    """
    measured: list[dict[str, float]] = []

    def best(name: str, values: Sequence[float], scores_of: Callable[[float], Scores]) -> float:
        if len(values) == 1 or not len(users.valid):
            return values[0]
        with console.step(f"neighbours: choose {name}", None, len(values), "values"):
            found = [ndcg(users.valid, scores_of(value), config.validation_cutoff) for value in values]
        measured.extend({name: v, "ndcg": round(q, 5)} for v, q in zip(values, found, strict=True))
        return values[int(np.argmax(found))]

    some = np.arange(min(len(users.valid), SCALE_USERS))
    scales = [spread(users.neighbours(matrix)(some)) for matrix in weights.regressions]
    walk_scales = [spread(users.neighbours(matrix)(some)) for matrix in weights.walks]

    def blend(ridge: int, walk: int, share: float) -> Blend:
        return Blend(share, scales[ridge], walk_scales[walk])

    def matrix(ridge: int, walk: int, share: float) -> sparse.csr_matrix:
        return blend(ridge, walk, share).matrix(weights.regressions[ridge], weights.walks[walk])

    def blended(ridge: int, walk: int, share: float) -> Scores:
        return users.neighbours(matrix(ridge, walk, share))

    powers, l2s = config.walk_powers, config.l2
    # In equal parts: the walks that are best alone need not be those that know what the regression does not.
    walk = powers.index(best("walk_power", powers, lambda value: blended(0, powers.index(value), EQUAL_PARTS)))
    ridge = l2s.index(best("l2", l2s, lambda value: blended(l2s.index(value), walk, config.walk_shares[0])))
    walk_share = best("walk_share", config.walk_shares, lambda value: blended(ridge, walk, value))
    weighed = matrix(ridge, walk, walk_share)

    def recent(boost: float, decay: float) -> Scores:
        return users.neighbours(weighed, Recency(boost, decay))

    decay = config.recency_decays[0]
    boost = best("recency_boost", config.recency_boosts, lambda value: recent(value, decay))
    if boost:
        decay = best("recency_decay", config.recency_decays, lambda value: recent(boost, value))
    item_item = recent(boost, decay)
    tower_scale, item_scale = spread(users.towers(some)), spread(item_item(some))

    def merged(share: float) -> Scores:
        return lambda at: share / tower_scale * users.towers(at) + (1 - share) / item_scale * item_item(at)

    tower_share = best("tower_share", config.tower_shares, merged)
    return Choice(
        ridge,
        walk,
        blend(ridge, walk, walk_share),
        Recency(boost, decay),
        tower_weight=tower_share / tower_scale,
        neighbour_weight=(1.0 - tower_share) / item_scale,
        measured=measured,
    )


def ndcg(users: ValidationSet, scores: Scores, cutoff: int) -> float:
    """Mean NDCG@cutoff over the users, of the whole catalogue minus what each has seen."""
    total = 0.0
    for positions in _blocks(len(users), len(scores(np.arange(1))[0])):
        found = scores(positions)
        for place, position in enumerate(positions):
            found[place, users.seen[position]] = -np.inf
        relevant = [users.relevant[position] for position in positions]
        indptr = np.cumsum([0, *map(len, relevant)])
        slates, _ = top_k(found, cutoff)
        total += per_user(slates, indptr, np.concatenate(relevant), [cutoff])[f"ndcg@{cutoff}"].sum()
    return float(total) / len(users)


def _blocks(num_users: int, num_items: int) -> Iterator[NDArray[np.int64]]:
    step = max(1, BLOCK_CELLS // num_items)
    for start in range(0, num_users, step):
        yield np.arange(start, min(start + step, num_users))
