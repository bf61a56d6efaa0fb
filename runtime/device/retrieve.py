"""Retrieval on a device: the towers' search, the item-item scores and the merge of a batch of users in one step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.device.device import Device
from runtime.device.memory import array_bytes, search_bytes
from runtime.device.neighbours import DeviceNeighbours, Reached
from runtime.device.search import DeviceSearch, Hidden, blocks
from runtime.device.users import Seen, counts_of, hidden_from, seen_by
from runtime.ids import NO_ITEM
from runtime.index.eligible import ELIGIBLE_FILE, LiveEligible
from runtime.index.rounding import SCORE_STEP, quantise
from runtime.neighbours import NeighbourLists, Recency
from runtime.seen import SeenItems
from runtime.sources.base import Source
from runtime.sources.content import Content
from runtime.sources.item_scores import ItemScores
from runtime.sources.neighbours import HISTORY_FILE
from runtime.sources.towers import EMBEDDINGS_FILE
from runtime.spec import LIVE_OFFSET, POPULARITY, ChainSpec, Tensor
from runtime.step import Arrays, load_array
from runtime.steps.merge import MERGED_STEP, RETRIEVAL_SCORE, Merge

__all__ = ["Retrieve"]

TOWERS, NEIGHBOURS = "towers", "neighbours"
# The sources that are searched on the device; what is stored a score an item is looked up there.
ON_DEVICE = (TOWERS, NEIGHBOURS)
# In the place of a source's number: the merged score.
MERGED = -1


class Retrieve(Merge):
    """What the sources and the merge of a chain give together, for all users of a batch at once.

    The two towers and the item-item lists are searched on the device. Sources of stored scores are asked on the host,
    as their arrays come; their scores of other items are looked up on the device.

    Args:
        sources, fallback: as of the merge.

    Attributes:
        device: what computes; set before `open`.
    """

    device: Device

    def __init__(self, sources: list[dict[str, Any]], fallback: str) -> None:
        super().__init__(sources, fallback)
        self._names = [source.name for source in self.sources]

    def inputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The query, what the sources on the device read, and what the others gave."""
        replaced = [source for source in self.sources if source.name in ON_DEVICE]
        given = {tensor.name for source in replaced for tensor in source.outputs(spec)}
        merged = [tensor for tensor in super().inputs(spec) if tensor.name not in given]
        own = [tensor for source in replaced for tensor in source.inputs(spec)]
        return tuple({tensor.name: tensor for tensor in [*merged, *own]}.values())

    def device_bytes(self, folder: Path, spec: ChainSpec) -> int:
        """Memory of the device that the items and a full batch take."""
        lists = [folder / f"neighbours/{name}.npy" for name in ("rows", "weights")] if NEIGHBOURS in self._names else []
        others = [self.sources[number] for number in self._queried if self._names[number] not in ON_DEVICE]
        files = [folder / name for source in others for name in source.scorer_files(spec)]
        shape = (spec.num_items, spec.embedding_dim, spec.device_precision, spec.num_candidates, spec.max_batch_size)
        return search_bytes(*shape) + array_bytes(*lists, *files)

    def open(self, folder: Path, spec: ChainSpec) -> None:
        """Open `files` and copy what is searched to the device."""
        device = self.device
        self._count, self._num_items = spec.num_candidates, spec.num_items
        self._seen, self._filter_seen = SeenItems(folder), spec.filter_seen
        self._live = LiveEligible(folder, spec) if spec.live_stock else None
        eligible = load_array(folder / ELIGIBLE_FILE) if self._live is None else self._live.bitmap
        embeddings, is_half = load_array(folder / EMBEDDINGS_FILE), spec.device_precision == "float16"
        array = blocks(device, embeddings, spec.device_precision)
        self._search = DeviceSearch(device, array, eligible, device.pin(embeddings) if is_half else None)
        self._kernels, self._lists = self._search.kernels, None
        if NEIGHBOURS in self._names:
            self._lists = DeviceNeighbours(device, self._kernels, NeighbourLists.load(folder / "neighbours"))
            self._history, self._length = load_array(folder / HISTORY_FILE), spec.history_length
            self._recency = Recency(spec.recency_boost, spec.recency_decay)
        others = {number: self.sources[number] for number in self._queried if self._names[number] not in ON_DEVICE}
        self._scores_of = {number: _lookup(device, folder, spec, source) for number, source in others.items()}

    def __call__(self, batch: Mapping[str, NDArray]) -> Arrays:
        """[B, ...] what `inputs` names -> candidates [B, C] with their scores."""
        if self._live is not None and len(changed := self._live.refresh(int(batch[LIVE_OFFSET].max()))):
            self._search.flip(changed)
        seen = seen_by(batch, self._seen, self._num_items)
        hidden = hidden_from(batch, seen if self._filter_seen else None, self._num_items)
        found, scores = self._best(batch, seen, hidden)
        given = {RETRIEVAL_SCORE: scores.pop(MERGED), **{self.sources[n].score_name: s for n, s in scores.items()}}
        arrays = {"candidates": found, **{name: values for name, values in given.items() if name}}
        for user in np.flatnonzero(batch["path_code"][:, 0] == POPULARITY):
            rows, values = self._of_fallback(batch, user)
            for name, array in arrays.items():
                array[user] = NO_ITEM if name == "candidates" else 0
            arrays["candidates"][user, : len(rows)] = rows
            arrays[RETRIEVAL_SCORE][user, : len(rows)] = values
        return arrays

    def _best(self, batch: Mapping[str, NDArray], seen: Seen, hidden: Hidden) -> tuple[NDArray, dict[int, NDArray]]:
        """Candidates int32 [B, C], and their scores by the number of the source, MERGED for the merged ones."""
        xp, kernels, queries = self.device.xp, self._kernels, self.device.put(batch["query"], np.float32)
        reached = self._reached(batch, seen)
        brought = {number: self._found_by(number, batch, reached, hidden) for number in self._queried}
        # In the order of the items, so that of equal scores the lower row comes first; each item once.
        rows = xp.sort(xp.concatenate([*brought.values()], axis=1), axis=1)
        is_item = rows >= 0
        is_item[:, 1:] &= rows[:, 1:] != rows[:, :-1]
        items = xp.maximum(rows, 0)
        scores, total = {}, xp.zeros(rows.shape)
        for number in self._queried:
            scores[number] = self._scores(number, queries, items, reached)
            total += float(self._weights[number]) * scores[number].astype(np.float64)
        merged = quantise(total, MERGED_STEP)
        values = xp.where(is_item, merged, -np.inf).astype(np.float32)
        if any(self._quotas):
            values = self._with_quotas_kept(values, items, brought)
        places = kernels.best(values, self._count)
        scores[MERGED] = merged
        picked = {
            number: kernels.pick(places, rows, of_source)
            for number, of_source in scores.items()
            if number == MERGED or self.sources[number].score_name
        }
        to_host = self.device.to_host
        candidates: NDArray[np.int32] = np.array(to_host(picked[MERGED][0]))
        found = {number: np.array(to_host(of_best)) for number, (_, of_best) in picked.items()}
        for of_best in found.values():
            of_best[candidates == NO_ITEM] = 0
        return candidates, found

    def _reached(self, batch: Mapping[str, NDArray], seen: Seen) -> Reached | None:
        if self._lists is None:
            return None
        counts = counts_of(batch, seen, self._history, self._length, self._recency, self._num_items)
        reached = self._lists.scores(seen, counts)
        return Reached(reached.keys, quantise(reached.scores, SCORE_STEP))

    def _found_by(self, number: int, batch: Mapping[str, NDArray], reached: Reached | None, hidden: Hidden) -> Any:
        """What a source puts into the union: item rows int32 [B, K], best first, -1 padded."""
        xp = self.device.xp
        name = self._names[number]
        if name == TOWERS:
            return self._search.nearest(batch["query"], hidden, self._count).rows
        if name == NEIGHBOURS:
            assert self._lists is not None and reached is not None
            return self._lists.best(reached, self._search.bitmap, hidden, self._count)
        rows, scores = self.device.put(batch[f"{name}_items"], np.int32), self.device.put(batch[f"{name}_scores"])
        if not self._quotas[number]:
            return rows
        order = self._kernels.best(xp.where(rows >= 0, scores, np.float32(-np.inf)), rows.shape[1], xp.maximum(rows, 0))
        return xp.where(order >= 0, xp.take_along_axis(rows, xp.maximum(order, 0), axis=1), NO_ITEM)

    def _scores(self, number: int, queries: Any, items: Any, reached: Reached | None) -> Any:
        """A source's scores float32 [B, M] of item rows [B, M]."""
        xp = self.device.xp
        users = xp.arange(len(items), dtype=np.int32)[:, None]
        if number in self._scores_of:
            return self._scores_of[number](queries, users, items)
        if self._names[number] == TOWERS:
            return self._search.scores(queries, users, items)
        assert reached is not None
        if not len(reached.keys):
            return xp.zeros(items.shape, np.float32)
        keys = users.astype(np.int64) * self._num_items + items
        places = xp.minimum(xp.searchsorted(reached.keys, keys.ravel()), len(reached.keys) - 1).reshape(items.shape)
        return xp.where(reached.keys[places] == keys, reached.scores[places], np.float32(0))

    def _with_quotas_kept(self, values: Any, items: Any, brought: Mapping[int, Any]) -> Any:
        """Merged scores float32 [B, M] of which all but C are -inf: those that quotas keep, then the best."""
        xp = self.device.xp
        kept = xp.zeros(values.shape, bool)
        for number, rows in brought.items():
            for place in range(min(self._quotas[number], rows.shape[1])):
                kept |= items == rows[:, place : place + 1]
        kept &= values > -np.inf
        others = self._kernels.best(xp.where(kept, np.float32(-np.inf), values), self._count)
        is_left = (xp.arange(self._count) < self._count - kept.sum(axis=1, keepdims=True)) & (others >= 0)
        # What is not left is marked in a column of its own, which is cut off.
        marked = xp.zeros((len(values), values.shape[1] + 1), bool)
        marked[xp.arange(len(values))[:, None], xp.where(is_left, others, values.shape[1])] = True
        return xp.where(kept | marked[:, :-1], values, np.float32(-np.inf))


def _lookup(device: Device, folder: Path, spec: ChainSpec, source: Source) -> Callable[[Any, Any, Any], Any]:
    """(queries [B, D], places of users [B, 1], item rows [B, M]) -> a source's scores float32 [B, M]."""
    if isinstance(source, ItemScores):
        stored = device.put(load_array(folder / source.scores_file), np.float32)
        return lambda queries, users, items: stored[items]
    if isinstance(source, Content):
        return _content(device, *(load_array(folder / name) for name in source.scorer_files(spec)))
    # Pinned items have no score.
    return lambda queries, users, items: device.xp.zeros(items.shape, np.float32)


def _content(device: Device, known: NDArray, vectors: NDArray) -> Callable[[Any, Any, Any], Any]:
    """Inner products with the vectors of some items, 0 for the others."""
    if not len(known):
        return lambda queries, users, items: device.xp.zeros(items.shape, np.float32)
    search = DeviceSearch(device, blocks(device, vectors), np.zeros(0, np.uint8))
    rows = device.put(known, np.int64)

    def scores(queries: Any, users: Any, items: Any) -> Any:
        places = device.xp.searchsorted(rows, items.ravel()).reshape(items.shape)
        places = device.xp.minimum(places, len(rows) - 1)
        return device.xp.where(rows[places] == items, search.scores(queries, users, places), np.float32(0))

    return scores
