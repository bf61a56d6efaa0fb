"""What the ranker is trained on: logged impressions, or groups of one positive and drawn negatives.

Both come as groups of M items that share a query; an impression is a group of one. The display position is never an
input.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.dataset.features import Batch, Events, Features, Shard
from models.ranking.live import Hide
from models.ranking.pairing import PairSource
from models.ranking.tasks import Task, label_matrix
from workflows.features.schema import HISTORY

__all__ = ["Group", "GroupSource", "ImpressionGroups", "SampledGroups"]


class Group(msgspec.Struct, frozen=True):
    """A batch of G queries with M items each.

    Attributes:
        query: query features by name, [G, 1] or [G, L].
        items: item features by name, [G * M, 1] or [G * M, L].
        pair: float32 [G, M, P].
        labels: float32 [G, M]; of T tasks [G, M, T], NaN where a label is not known.
        mask: bool [G, M], false where a group has fewer than M items.
    """

    query: Batch
    items: Batch
    pair: NDArray[np.float32]
    labels: NDArray[np.float32]
    mask: NDArray[np.bool_]


class GroupSource(Protocol):
    """Anything that training can go over."""

    listwise: bool

    @property
    def num_rows(self) -> int:
        """(query, item) rows."""
        ...

    def share(self, shard: Shard) -> GroupSource:
        """The same source, of which only a process's share is gone over: equally many rows for each."""
        ...

    def batches(self, batch_size: int, seed: int | None = None) -> Iterator[Group]:
        """Go once over all rows, about `batch_size` at a time; shuffled when there is a seed."""
        ...


class ImpressionGroups:
    """Logged events with their label, one item a group. History is that of the event, point-in-time.

    Pair features are off for these rows unless asked for: the retriever was fitted on the clicks that are labels here.

    Args:
        events: of a split.
        label: label column.
        features: of the run.
        pairs: gives the pair features.
        history: int32 [U, L], codes that stand for the history of every event of a user; None: each has its own.
        hide: hides the live state from some of the shuffled rows; None: from none.
        tasks: several outcomes instead of the label.
    """

    listwise = False

    def __init__(
        self,
        events: Events,
        label: str,
        features: Features,
        pairs: PairSource,
        history: NDArray[np.int32] | None = None,
        hide: Hide | None = None,
        tasks: Sequence[Task] = (),
    ) -> None:
        self._events = events.select(known_items_only=True)
        self._tasks, self._end = tuple(tasks), events.latest if tasks else 0
        self._label, self._features, self._pairs = label, features, pairs
        self._history, self._hide = history, hide
        self._shard = Shard()

    def share(self, shard: Shard) -> ImpressionGroups:
        """The same impressions, of which only a process's share is gone over."""
        shared = copy.copy(self)
        shared._shard = shard
        return shared

    @property
    def num_rows(self) -> int:
        """Impressions of this process's share."""
        return len(self._events) // self._shard.size

    def batches(self, batch_size: int, seed: int | None = None) -> Iterator[Group]:
        """Yield groups [B, 1]."""
        for number, events in enumerate(self._events.batches(batch_size, seed=seed, shard=self._shard)):
            if self._history is not None:
                events = {**events, HISTORY: self._history[events["user_row"]]}
            query, rows = self._features.event_inputs(events), events["item_row"]
            pair = self._pairs.compute(query, events["user_row"], rows[:, None], events["at"])
            if self._hide is not None and seed is not None:
                query, pair = self._hide(query, pair, (seed, number))
            yield Group(
                query=query,
                items=self._features.item_inputs(rows),
                pair=pair,
                labels=self._labels(events)[:, None],
                mask=np.ones((len(rows), 1), bool),
            )

    def _labels(self, events: Batch) -> NDArray[np.float32]:
        """float32 [B], or [B, T]."""
        if self._tasks:
            return label_matrix(self._tasks, events, self._end)
        return events[self._label].astype(np.float32)


class SampledGroups:
    """Groups of one positive (column 0) and drawn negatives, held in memory.

    Args:
        query: query features by name, [R, 1] or [R, L].
        item_rows: int32 [R, M], the positive first; -1 where no negative could be drawn.
        pair: float32 [R, M, P].
        user_row: int32 [R].
        features: item features by row.
        hide: hides the live state from some of the shuffled groups; None: from none.
    """

    listwise = True

    def __init__(
        self,
        query: Batch,
        item_rows: NDArray,
        pair: NDArray,
        user_row: NDArray,
        features: Features,
        hide: Hide | None = None,
    ) -> None:
        self.query, self.item_rows, self.pair, self.user_row = query, item_rows, pair, user_row
        self._features, self._hide = features, hide
        self._shard = Shard()

    def share(self, shard: Shard) -> SampledGroups:
        """The same groups, of which only a process's share is gone over."""
        shared = copy.copy(self)
        shared._shard = shard
        return shared

    @property
    def num_rows(self) -> int:
        """Rows of all groups of this process's share."""
        return len(self.item_rows) // self._shard.size * self.item_rows.shape[1]

    def where(self, keep: NDArray[np.bool_]) -> SampledGroups:
        """The groups where `keep` [R] is true."""
        query = {name: values[keep] for name, values in self.query.items()}
        return SampledGroups(
            query, self.item_rows[keep], self.pair[keep], self.user_row[keep], self._features, self._hide
        )

    def batches(self, batch_size: int, seed: int | None = None) -> Iterator[Group]:
        """Yield groups [G, M]."""
        num_groups, width = self.item_rows.shape
        order = np.arange(num_groups) if seed is None else np.random.default_rng(seed).permutation(num_groups)
        if self._shard.size > 1:
            order = order[: num_groups - num_groups % self._shard.size][self._shard.rank :: self._shard.size]
        step = max(1, batch_size // width)
        for number, start in enumerate(range(0, len(order), step)):
            taken = order[start : start + step]
            rows = self.item_rows[taken]
            query, pair = {name: values[taken] for name, values in self.query.items()}, self.pair[taken]
            if self._hide is not None and seed is not None:
                query, pair = self._hide(query, pair, (seed, number))
            labels = np.zeros(rows.shape, np.float32)
            labels[:, 0] = 1.0
            yield Group(
                query=query,
                items=self._features.item_inputs(np.maximum(rows, 0).ravel()),
                pair=pair,
                labels=labels,
                mask=rows >= 0,
            )
