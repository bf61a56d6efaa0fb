"""Take the DLRM apart: what depends on the query, on the item, and on both. Imports TensorFlow.

The first top layer is linear in [dots of all field pairs, query bottom, item bottom, standardised pair features],
and each of these belongs to the query, the item or the two together. Its output is therefore a sum of three parts, of
which the first is computed once per user and the second once per item of the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.dataset.features import Features
from models.ranking.model import Ranker, pair_positions
from runtime.ranker.items import ItemFeature, save_tables, stored_bytes

__all__ = ["Factors", "factor"]

BLOCK_ROWS = 8192


class Factors:
    """The parts of a trained ranker.

    Args:
        model: trained and built.
        num_query_fields, num_item_fields: Fq and Fi.
    """

    def __init__(self, model: Ranker, num_query_fields: int, num_item_fields: int) -> None:
        self._model = model
        self.num_query_fields, self.num_item_fields = num_query_fields, num_item_fields
        dense = [layer.dense for layer in model.top.layers if hasattr(layer, "dense")]
        first, *rest = _with_wide([layer.get_weights() for layer in [*dense, model.last]], model.wide.numpy())
        kernel, bias = first
        p, q = pair_positions(num_query_fields + num_item_fields)
        of_query, of_item = q < num_query_fields, p >= num_query_fields
        num_dots, dim = len(p), (len(kernel) - len(p) - model.num_pairs) // 2
        scale, mean = model.pair_scale.numpy(), model.pair_mean.numpy()
        skip = (model.skip.numpy().T / scale).T
        pair_kernel = kernel[num_dots + 2 * dim :]
        self.pair = pair_kernel / scale[:, None]
        self.skip = skip
        self.cross = self._cross(kernel[:num_dots], p, q)
        # The means of the pair features leave the sums: into the user's part, and into the last bias.
        self._query_bias = bias - (mean / scale) @ pair_kernel
        rest[-1][1] = rest[-1][1] - mean @ skip
        self.layers = tuple((weight, offset) for weight, offset in rest)
        self._query = self._side(kernel, p[of_query], q[of_query], np.flatnonzero(of_query), num_dots, dim, 0)
        shift = num_query_fields
        self._item = self._side(
            kernel, p[of_item] - shift, q[of_item] - shift, np.flatnonzero(of_item), num_dots + dim, dim, shift
        )

    def query(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Query features by name -> `fields` [B, Fq, D] and `hidden` [B, H]."""
        fields = self._model.query_fields(inputs)
        return {"fields": fields, "hidden": self._hidden(fields, *self._query) + self._query_bias}

    def item(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Item features by name -> `fields` [B, Fi, D] and `hidden` [B, H]."""
        fields = self._model.item_fields(inputs)
        return {"fields": fields, "hidden": self._hidden(fields, *self._item)}

    @property
    def field_dim(self) -> int:
        """D, the width of a field."""
        return len(self._item[2])

    @property
    def hidden(self) -> int:
        """H, the width of the first top layer."""
        return self.cross.shape[1]

    def stored_bytes(self, num_items: int) -> int:
        """What `write_stored` writes."""
        return stored_bytes(num_items, self.num_item_fields, self.field_dim, self.hidden)

    def write_stored(self, folder: Path, features: Features) -> None:
        """Compute the item parts over the whole catalogue, block by block, into item_fields.npy and item_hidden.npy."""
        shapes = {"fields": (self.num_item_fields, self.field_dim), "hidden": (self.hidden,)}
        files = {
            name: np.lib.format.open_memmap(
                folder / f"item_{name}.npy", mode="w+", dtype=np.float32, shape=(features.num_items, *shape)
            )
            for name, shape in shapes.items()
        }
        for start in range(0, features.num_items, BLOCK_ROWS):
            rows = np.arange(start, min(start + BLOCK_ROWS, features.num_items))
            part = self.item({name: tf.constant(values) for name, values in features.item_inputs(rows).items()})
            for name, file in files.items():
                file[rows] = part[name].numpy()

    def write_tables(self, folder: Path) -> None:
        """Write what the item parts are gathered from, item_tables/."""
        features = [ItemFeature(f.name, f.kind, f.length, f.domain) for f in self._model.item_features]
        domains = {feature.domain for feature in features if feature.kind == "categorical"}
        _, dots, last = self._item
        save_tables(folder, features, self._model.tables(domains), self._model.bottom_layers("item"), dots, last)

    def _cross(self, kernel: NDArray, p: NDArray, q: NDArray) -> NDArray[np.float32]:
        """Rows of the kernel that weigh a query field f with an item field g, at g * Fq + f."""
        cross = np.zeros((self.num_item_fields * self.num_query_fields, kernel.shape[1]), np.float32)
        both = (p < self.num_query_fields) & (q >= self.num_query_fields)
        cross[(q[both] - self.num_query_fields) * self.num_query_fields + p[both]] = kernel[both]
        return cross

    def _side(
        self, kernel: NDArray, p: NDArray, q: NDArray, rows: NDArray, bottom_at: int, dim: int, shift: int
    ) -> tuple[Any, Any, Any]:
        """Positions in the flattened F x F dots of one side, and the kernels of its dots and of its bottom output."""
        width = self.num_item_fields if shift else self.num_query_fields
        return p * width + q, kernel[rows], kernel[bottom_at : bottom_at + dim]

    def _hidden(self, fields: tf.Tensor, positions: NDArray, kernel: NDArray, bottom: NDArray) -> tf.Tensor:
        width = fields.shape[1]
        hidden = tf.matmul(fields[:, -1], tf.constant(bottom))
        if len(positions):
            dots = tf.reshape(tf.matmul(fields, fields, transpose_b=True), (-1, width * width))
            hidden += tf.matmul(tf.gather(dots, tf.constant(positions, tf.int32), axis=1), tf.constant(kernel))
        return hidden


def _with_wide(layers: list[list[NDArray]], wide: NDArray[np.float32]) -> list[list[NDArray]]:
    """The same network with the linear part as 2 T more units of every layer, so that the served form needs no other.

    z = relu(z) - relu(-z): the units hold z and -z before each ReLU, and the last layer takes their difference.

    Args:
        layers: kernel [I, O] and bias [O] of each layer, ReLU between them; the last has T outputs.
        wide: [I', T], weighs the first I' inputs linearly.
    """
    (kernel, bias), *rest = layers
    num_tasks = wide.shape[1]
    more = 2 * num_tasks
    padded = np.pad(wide, ((0, len(kernel) - len(wide)), (0, 0)))
    widened = [[np.concatenate([kernel, padded, -padded], axis=1), np.append(bias, np.zeros(more))]]
    one = np.eye(num_tasks)
    difference = np.block([[one, -one], [-one, one]])
    for number, (kernel, bias) in enumerate(rest, start=1):
        outputs = 0 if number == len(rest) else more
        kernel = np.pad(kernel, ((0, more), (0, outputs)))
        if outputs:
            kernel[-more:, -more:] = difference
        else:
            kernel[-more:] = difference[:, :num_tasks]
        widened.append([kernel, np.pad(bias, (0, outputs))])
    return [[kernel.astype(np.float32), bias.astype(np.float32)] for kernel, bias in widened]


def factor(model: Ranker) -> Factors:
    """The factors of a trained ranker."""
    return Factors(model, model.num_query_fields, model.num_item_fields)
