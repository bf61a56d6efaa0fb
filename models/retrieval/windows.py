"""Ordered histories as training examples: windows over a user's items, of which every item is a target once an epoch.

Imports TensorFlow.
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
from models.retrieval.settled import TowerTraining
from models.retrieval.towers import Towers
from workflows.features.schema import HISTORY, ITEM_ID, PADDING

__all__ = ["PLACE", "WindowExamples", "window_batches"]

PLACE = "history_place"

# Windows of a batch differ in length by less than this: what a batch pads, it computes for nothing.
LENGTH_STEP = 8


class WindowExamples(EventExamples):
    """Examples that are stretches of ordered histories, read with attention."""

    least_steps = 32

    inputs = {HISTORY: tf.TensorSpec([None, None], tf.int32), PLACE: tf.TensorSpec([None], tf.int32)}

    def __init__(self, positives: Events, features: Features, config: TowerTraining, *, falls: bool = True) -> None:
        super().__init__(positives, features, config, falls=falls)

    def batches(self, *, seed: int, shard: Shard) -> Iterator[Batch]:
        """Those of `window_batches`."""
        length = self.features.schema.history_length
        return window_batches(self.positives, self.features, self.batch_size(shard), length, seed=seed, shard=shard)

    def query_inputs(self, towers: Towers, inputs: dict[str, Any], noise: tf.Tensor) -> dict[str, Any]:
        """In place of each target's history the state of its window before it, [R, D]."""
        states = towers.history_states(inputs[HISTORY], noise)
        return inputs | {HISTORY: tf.gather(states, inputs[PLACE])}


def window_batches(
    positives: Events, features: Features, batch_size: int, length: int, *, seed: int, shard: Shard
) -> Iterator[Batch]:
    """Go once over the positive events, each as the target of what its user had before it.

    A user's items are cut into windows, at other places for every seed, so that an item is met after long and after
    short histories. The items of a window are the histories of its second to last item and of the one after it; a
    user's first event is the target of an empty history.

    Args:
        positives: training examples, each with an item of the catalogue. A user's events that lie in several parts,
            of a split that does not fit in memory, are cut at the parts.
        features: of the run.
        batch_size: targets a batch, about, as windows are not torn. Where several processes train, all their batches
            have equally many windows, of equal length, and exactly `batch_size` targets: a target is then left out or
            taken twice.
        length: of the longest window.
        seed: of the cuts and of the order.
        shard: this process's share of the windows.

    Yields:
        The columns of R events; in place of their own histories HISTORY int32 [W, K], the codes of the windows' items,
        oldest first and padded right; and PLACE int32 [R], where in the flattened windows a target's history ends, plus
        one; 0 for an empty history.
    """
    random = np.random.default_rng(seed)
    alike = shard.size > 1
    for columns in positives.chunks(random):
        order = np.lexsort((columns["at"], columns["user_row"]))
        windows = _Windows(columns["user_row"][order], length, random)
        codes = features.items[ITEM_ID][columns["item_row"][order]].astype(np.int32)
        for chosen in windows.batches(batch_size, random, shard):
            history = windows.items(codes, chosen, length if alike else None)
            targets, place = windows.targets(chosen, history.shape[1])
            if alike:
                kept = np.resize(np.random.default_rng([seed, *chosen[:1]]).permutation(len(targets)), batch_size)
                targets, place = targets[kept], place[kept]
            batch = {name: values[order[targets]] for name, values in columns.items() if name != HISTORY}
            yield batch | {HISTORY: history, PLACE: place}


class _Windows:
    """Where the windows over rows that are grouped by user begin, and how many items they hold.

    A user of n rows has n - 1 items that something follows: `length` of them a window, the first window any number.
    """

    def __init__(self, users: NDArray, length: int, random: np.random.Generator) -> None:
        first_row = np.flatnonzero(np.diff(users, prepend=users[:1] - 1)) if len(users) else np.empty(0, np.int64)
        spoken = np.diff(first_row, append=len(users)) - 1
        head = np.where(spoken <= length, spoken, random.integers(1, length + 1, len(spoken)))
        count = 1 + -(-(spoken - head) // length)
        owner = np.repeat(np.arange(len(spoken)), count)
        number = places_in_runs(count)
        start = np.where(number == 0, 0, head[owner] + (number - 1) * length)
        end = np.minimum(head[owner] + number * length, spoken[owner])
        self.starts, self.sizes, self.opens = first_row[owner] + start, end - start, number == 0

    @property
    def num_targets(self) -> NDArray[np.int64]:
        """Of each window."""
        counts: NDArray[np.int64] = self.sizes + self.opens
        return counts

    def batches(self, batch_size: int, random: np.random.Generator, shard: Shard) -> Iterator[NDArray[np.int64]]:
        """Windows of about `batch_size` targets and about one length, in random order."""
        mixed = random.permutation(len(self.starts))
        mixed = mixed[: len(mixed) - len(mixed) % shard.size][shard.rank :: shard.size]
        mixed = mixed[np.argsort(self.sizes[mixed] // LENGTH_STEP, kind="stable")]
        if shard.size > 1:
            per_batch = max(1, round(batch_size * len(self.starts) / max(self.num_targets.sum(), 1)))
            cuts = np.arange(per_batch, len(mixed), per_batch)
        else:
            total = np.cumsum(self.num_targets[mixed])
            cuts = np.flatnonzero(np.diff(total // batch_size)) + 1
        groups = np.split(mixed, cuts)
        for place in random.permutation(len(groups)):
            if len(groups[place]) and (shard.size == 1 or len(groups[place]) == per_batch):
                yield groups[place]

    def items(self, codes: NDArray[np.int32], chosen: NDArray, width: int | None) -> NDArray[np.int32]:
        """The item codes of some windows, padded right to `width`, by default to the longest: [W, K]."""
        sizes = self.sizes[chosen, None]
        steps = np.arange(max(1, sizes.max()) if width is None else width)
        rows = np.minimum(self.starts[chosen, None] + steps, len(codes) - 1)
        return np.where(steps < sizes, codes[rows], np.int32(PADDING))

    def targets(self, chosen: NDArray, width: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The rows that are targets of some windows, and the places of their histories."""
        steps = np.arange(width)
        after = steps < self.sizes[chosen, None]
        follow = (self.starts[chosen, None] + steps + 1)[after]
        opening = self.starts[chosen][self.opens[chosen]]
        place = np.concatenate([np.flatnonzero(after) + 1, np.zeros(len(opening), np.int64)])
        return np.concatenate([follow, opening]), place.astype(np.int32)
