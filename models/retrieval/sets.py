"""Users without order as training examples: a user's items are split at random into a history and the targets.

Where every event is an example, those of a user have one target each and nearly the same query. One example a user has
one query and one softmax for all targets, which takes a tenth of the time and less. Imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.dataset.features import Batch, Events, Features, Shard
from models.dataset.runs import places_in_runs
from models.retrieval.event_examples import EventExamples
from models.retrieval.objective import sets_loss
from workflows.features.schema import HISTORY, ITEM_ID, PADDING

__all__ = ["OWNER", "SetExamples", "set_batches"]

OWNER = "set_owner"


class SetExamples(EventExamples):
    """Examples that are users."""

    inputs = {OWNER: tf.TensorSpec([None], tf.int32)}
    unit, least_steps, smallest_batch = "users", 8, 8

    @property
    def num_units(self) -> int:
        """Users with a positive."""
        return len(np.unique(self.positives.columns["user_row"]))

    @property
    def num_targets(self) -> int:
        """Half of the items: the others are the history."""
        return max(1, len(self.positives) // 2)

    def batches(self, *, seed: int, shard: Shard) -> Iterator[Batch]:
        """Those of `set_batches`."""
        length = self.features.schema.history_length
        return set_batches(self.positives, self.features, self.batch_size(shard), length, seed=seed, shard=shard)

    def catalogue_loss(
        self, query: tf.Tensor, catalogue: tf.Tensor, item_row: tf.Tensor, inputs: dict[str, Any]
    ) -> tf.Tensor:
        """The mean over all targets; those of a user share its query."""
        return sets_loss(query, catalogue, inputs[OWNER], item_row, self.config.temperature)


def set_batches(
    positives: Events, features: Features, batch_size: int, length: int, *, seed: int, shard: Shard
) -> Iterator[Batch]:
    """Go once over the users, each with a part of its items as the history and the others as targets.

    A coin decides for every item; one at least is a target, so a user of one item has an empty history.

    Args:
        positives: training examples, each with an item of the catalogue; an item that a user has twice counts once.
        features: of the run.
        batch_size: B, users a batch. A shorter last batch is left out, unless it is the only one.
        length: L, the most items of a history; of more, the first L in a random order are shown.
        seed: of the coins and of the order.
        shard: this process's share of the users.

    Yields:
        user_row int32 [B] and HISTORY int32 [B, L], item codes padded right; and of the R targets of all of them,
        ordered by user: OWNER int32 [R], the row in the batch, and item_row int32 [R].
    """
    random = np.random.default_rng(seed)
    columns, num_items = positives.columns, features.num_items
    pairs = np.unique(columns["user_row"].astype(np.int64) * num_items + columns["item_row"])
    user, item = np.divmod(pairs, num_items)
    first = np.flatnonzero(np.diff(user, prepend=-1))
    sizes = np.diff(first, append=len(user))
    users = random.permutation(len(first))
    users = users[: len(users) - len(users) % shard.size][shard.rank :: shard.size]
    batch_size = max(1, min(batch_size, len(users)))
    for start in range(0, len(users) - batch_size + 1, batch_size):
        chosen = users[start : start + batch_size]
        owner, rows = _items_of(first[chosen], sizes[chosen], random)
        shown = _coins(owner, sizes[chosen], random)
        place = places_in_runs(np.bincount(owner[shown], minlength=batch_size))
        kept = place < length
        history = np.full((batch_size, length), PADDING, np.int32)
        history[owner[shown][kept], place[kept]] = features.items[ITEM_ID][item[rows[shown][kept]]]
        yield {
            "user_row": user[first[chosen]].astype(np.int32),
            HISTORY: history,
            OWNER: owner[~shown].astype(np.int32),
            "item_row": item[rows[~shown]].astype(np.int32),
        }


def _items_of(first: NDArray, sizes: NDArray, random: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Owner and position of every item of some users, by user, in a random order within each."""
    owner = np.repeat(np.arange(len(sizes)), sizes)
    position = places_in_runs(sizes) + np.repeat(first, sizes)
    return owner, position[np.lexsort((random.random(len(owner)), owner))]


def _coins(owner: NDArray, sizes: NDArray, random: np.random.Generator) -> NDArray[np.bool_]:
    """Which items are in the history: half of them, never all of a user's."""
    shown = random.random(len(owner)) < 0.5
    is_full = np.bincount(owner, shown, len(sizes)) == sizes
    shown[(np.cumsum(sizes) - 1)[is_full]] = False
    return shown
