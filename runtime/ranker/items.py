"""The item parts of the factored ranker: stored per item, or gathered from embedding tables. NumPy alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "TABLES_FOLDER",
    "GatheredItems",
    "ItemFeature",
    "ItemParts",
    "Layers",
    "StoredItems",
    "load_items",
    "save_tables",
    "stored_bytes",
]

TABLES_FOLDER = "item_tables"
FEATURES_FILE, NETWORK_FILE = "features.json", "network.npz"
# Kernel and bias of each layer.
Layers = Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]


class ItemParts(Protocol):
    """The part of the ranker that depends on the item alone."""

    def __call__(self, rows: NDArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Item rows [C], none negative -> float32 fields [C, Fi, D] and hidden [C, H], the caller's to change."""


@dataclass(frozen=True)
class StoredItems:
    """Computed for the whole catalogue at export: (Fi D + H) floats an item, one gather a request.

    Attributes:
        fields: float32 [N, Fi, D].
        hidden: float32 [N, H].
    """

    fields: NDArray[np.float32]
    hidden: NDArray[np.float32]

    def __call__(self, rows: NDArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See ItemParts."""
        return self.fields.take(rows, axis=0), self.hidden.take(rows, axis=0)


@dataclass(frozen=True)
class ItemFeature:
    """A model input of the item side.

    Attributes:
        name: of the input.
        kind: "categorical" or "continuous".
        length: 0 for a scalar, else the fixed length of a list.
        domain: which table its codes point into; of a continuous one, its name.
    """

    name: str
    kind: str
    length: int
    domain: str


class GatheredItems:
    """Computed for the candidates of a request from codes and tables: a few codes an item instead of all of its fields.

    Args:
        features: the item side's inputs, in order.
        values: feature name -> int32 codes or float32 values by row, [N] or [N, L]; may be memory-mapped.
        tables: domain -> float32 [V, D]; code 0 is padding, which has no part in a list's mean.
        bottom: layers of the bottom MLP over the continuous features (over a constant one where there is none).
        dots: float32 [Fi (Fi - 1) / 2, H], weighs the inner products of the fields p < q, by p, then by q.
        last: float32 [D, H], weighs the bottom's output.
    """

    def __init__(
        self,
        features: Sequence[ItemFeature],
        values: Mapping[str, NDArray],
        tables: Mapping[str, NDArray[np.float32]],
        bottom: Layers,
        dots: NDArray[np.float32],
        last: NDArray[np.float32],
    ) -> None:
        self._features = features
        self._categorical = [f for f in features if f.kind == "categorical"]
        self._continuous = [f.name for f in features if f.kind == "continuous"]
        self._values = {f.name: values[f.name] for f in features}
        self._tables = dict(tables)
        self._bottom, self._dots, self._last = bottom, dots, last
        self._pairs = np.triu_indices(len(self._categorical) + 1, k=1)

    def mapped(self, put: Callable[[NDArray], Any]) -> GatheredItems:
        """The same over other arrays, such as those of a GPU.

        Args:
            put: an array -> the other array; contiguous.
        """
        values, tables = ({name: put(array) for name, array in of.items()} for of in (self._values, self._tables))
        bottom = [(put(kernel), put(bias)) for kernel, bias in self._bottom]
        return GatheredItems(self._features, values, tables, bottom, put(self._dots), put(self._last))

    def __call__(self, rows: NDArray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See ItemParts."""
        # NumPy's functions take the arrays of a GPU as well, see `mapped`.
        shape = (len(rows), len(self._categorical) + 1, len(self._last))
        fields: NDArray = np.empty_like(self._last, shape=shape)
        for position, feature in enumerate(self._categorical):
            fields[:, position] = self._embed(feature, rows)
        fields[:, -1] = self._dense(rows)
        p, q = self._pairs
        hidden = np.einsum("cpd,cpd->cp", fields[:, p], fields[:, q]) @ self._dots
        hidden += fields[:, -1] @ self._last
        return fields, hidden

    def _embed(self, feature: ItemFeature, rows: NDArray) -> NDArray[np.float32]:
        """float32 [C, D]; of a list, the mean over its values without the padding."""
        codes = self._values[feature.name][rows]
        vectors: NDArray[np.float32] = self._tables[feature.domain][codes]
        if not feature.length:
            return vectors
        is_value = codes != 0
        total = np.einsum("cld,cl->cd", vectors, is_value.astype(np.float32))
        mean: NDArray[np.float32] = total / np.maximum(is_value.sum(axis=1, keepdims=True), 1).astype(np.float32)
        return mean

    def _dense(self, rows: NDArray) -> NDArray[np.float32]:
        """The bottom MLP: float32 [C, D]; ReLU between its layers."""
        columns = [self._values[name][rows] for name in self._continuous]
        columns = [values[:, None] if values.ndim == 1 else values for values in columns]
        value = np.concatenate(columns, axis=1) if columns else np.ones_like(self._last[:1, :1])
        for number, (kernel, bias) in enumerate(self._bottom):
            value = (np.maximum(value, 0.0) if number else value) @ kernel + bias
        return value


def stored_bytes(num_items: int, num_fields: int, field_dim: int, hidden: int) -> int:
    """Size of StoredItems' arrays."""
    return 4 * num_items * (num_fields * field_dim + hidden)


def load_items(folder: Path, values: Mapping[str, NDArray] | None) -> ItemParts:
    """Open item_fields.npy and item_hidden.npy of `folder`, or its item_tables/; memory-mapped.

    Args:
        folder: ranking/ of a run, or a copy of it.
        values: the encoded items by row, which gathered items need.

    Raises:
        OSError: a file is missing.
        ValueError: the items are gathered and `values` were not given.
    """
    tables = folder / TABLES_FOLDER
    if not tables.is_dir():
        fields, hidden = (_map(folder / f"item_{name}.npy") for name in ("fields", "hidden"))
        return StoredItems(fields, hidden)
    if values is None:
        raise ValueError(f"{tables} holds tables that the encoded items point into, and no encoded items were given")
    features = [ItemFeature(**feature) for feature in json.loads((tables / FEATURES_FILE).read_text())]
    domains = {feature.domain for feature in features if feature.kind == "categorical"}
    with np.load(tables / NETWORK_FILE, allow_pickle=False) as network:
        count = sum(name.startswith("w") for name in network.files)
        bottom = [(network[f"w{i}"], network[f"b{i}"]) for i in range(1, count + 1)]
        dots, last = network["dots"], network["last"]
    return GatheredItems(features, values, {n: _map(tables / f"{n}.npy") for n in domains}, bottom, dots, last)


def _map(path: Path) -> NDArray:
    """A memory-mapped array, as a plain view: gathers from np.memmap pay for its subclass checks."""
    array: NDArray = np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
    return array


def save_tables(
    folder: Path,
    features: Sequence[ItemFeature],
    tables: Mapping[str, NDArray[np.float32]],
    bottom: Layers,
    dots: NDArray[np.float32],
    last: NDArray[np.float32],
) -> None:
    """Write `folder`/item_tables for GatheredItems; the arguments are its own."""
    target = folder / TABLES_FOLDER
    target.mkdir()
    (target / FEATURES_FILE).write_text(json.dumps([asdict(feature) for feature in features], indent=1))
    for domain, table in tables.items():
        np.save(target / f"{domain}.npy", table)
    arrays = {"dots": dots, "last": last}
    for number, (kernel, bias) in enumerate(bottom, start=1):
        arrays |= {f"w{number}": kernel, f"b{number}": bias}
    np.savez(target / NETWORK_FILE, **{name: np.asarray(values, np.float32) for name, values in arrays.items()})
