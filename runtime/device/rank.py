"""The factored ranker on a device: all candidates of all users in a few matrix products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.device.device import Device
from runtime.device.memory import array_bytes
from runtime.ranker.factored import FactoredWeights, load_weights
from runtime.ranker.items import TABLES_FOLDER, GatheredItems, ItemParts, StoredItems
from runtime.spec import ChainSpec
from runtime.steps.query import RANKER_FIELDS, RANKER_HIDDEN
from runtime.steps.rank import Rank, Users, encoded_items, reads_items

__all__ = ["DeviceRank", "score_all"]

# Candidates that are scored at once.
MOST_ROWS = 1 << 18


class DeviceRank(Rank):
    """The ranker, with its matrix products on the device.

    A user's scores may differ in their last bits with the number of users in a batch: libraries of a GPU choose other
    ways for other sizes.

    Attributes:
        device: what computes; set before `open`.
    """

    device: Device

    def device_bytes(self, folder: Path, spec: ChainSpec) -> int:
        """Memory of the device that the items and a full batch take."""
        ranker, tables = spec.ranker, folder / "ranker" / TABLES_FOLDER
        files = [tables, folder / "items"]
        if not tables.is_dir():
            files = [folder / f"ranker/item_{name}.npy" for name in ("fields", "hidden")]
        of_pair = ranker.num_item_fields * (ranker.field_dim + ranker.num_query_fields) + 2 * ranker.hidden
        return array_bytes(*files) + 4 * min(spec.max_batch_size * spec.num_candidates, MOST_ROWS) * of_pair

    def open(self, folder: Path, spec: ChainSpec) -> None:
        """Open `files`, and copy the item parts to the device."""
        super().open(folder, spec)
        if spec.ranker.factored:
            self._score = DeviceScorer(self.device, folder, spec)


class DeviceScorer:
    """The factored DLRM, see `runtime.steps.rank.Scorer`."""

    def __init__(self, device: Device, folder: Path, spec: ChainSpec) -> None:
        weights = load_weights(folder / "ranker", encoded_items(folder, spec) if reads_items(spec) else None)
        self._device, self._weights = device, on_device(device, weights)
        self._shape = (-1, spec.ranker.num_query_fields, spec.ranker.field_dim)

    def __call__(self, batch: Mapping[str, NDArray], users: Users, rows: NDArray, pair: NDArray) -> NDArray[np.float32]:
        """See Scorer."""
        put, to_host = self._device.put, self._device.to_host
        tasks = (self._weights.num_tasks,) if self._weights.num_tasks else ()
        logits = np.empty((*rows.shape, *tasks), np.float32)
        fields, hidden = batch[RANKER_FIELDS][users].reshape(self._shape), batch[RANKER_HIDDEN][users]
        step = max(MOST_ROWS // rows.shape[1], 1)
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            of_users = put(fields[part]), put(hidden[part])
            logits[part] = to_host(score_all(*of_users, put(rows[part]), put(pair[part]), self._weights))
        return logits


def score_all(fields: Any, query_hidden: Any, rows: Any, pair: Any, weights: FactoredWeights) -> Any:
    """`runtime.ranker.factored.score` for all users at once, over arrays of the device."""
    users, count = rows.shape
    items, hidden = weights.items(rows.reshape(-1))  # (B * C, Fi, D), (B * C, H)
    dots = items.reshape(users, -1, items.shape[2]) @ fields.transpose(0, 2, 1)  # (B, C * Fi, Fq)
    hidden += dots.reshape(users * count, -1) @ weights.cross
    hidden = hidden.reshape(users, count, -1)
    hidden += query_hidden[:, None]
    if pair.shape[-1]:
        hidden += pair @ weights.pair
    for kernel, bias in weights.layers:
        hidden = np.maximum(hidden, 0.0) @ kernel
        hidden += bias
    logits = hidden if weights.num_tasks else hidden[..., 0]
    return logits + pair @ weights.skip if pair.shape[-1] else logits


def on_device(device: Device, weights: FactoredWeights) -> FactoredWeights:
    """The same weights as arrays of the device."""
    put = device.put
    return replace(
        weights,
        items=_items(device, weights.items),
        **{name: put(getattr(weights, name)) for name in ("cross", "pair", "skip")},
        layers=tuple((put(kernel), put(bias)) for kernel, bias in weights.layers),
    )


def _items(device: Device, items: ItemParts) -> ItemParts:
    if isinstance(items, StoredItems):
        return StoredItems(device.put(items.fields), device.put(items.hidden))
    assert isinstance(items, GatheredItems)
    return items.mapped(device.put)
