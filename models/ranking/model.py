"""The DLRM: one embedding per categorical feature, a bottom MLP per side, all pairwise dot products, a top MLP.

Departures from the published model, measured in docs/experiments: the context is also one field as a whole (an
embedding for each combination of its values), since dot products know pairs alone; the interactions reach the logit
linearly too, those of a user's with an item's field with weight 1 at first, which is a factorisation machine beside the
MLP; and embeddings are normal variables under a prior (`models.ranking.tables`).

It is composed of Merlin Models' blocks rather than built by its DLRMBlock, which has a single bottom MLP over all
continuous features (user and item mixed, so the first top layer would not split by side), pools padded lists with their
padding, and has no place for features of the pair. BinaryOutput is left out too: it ends in a sigmoid, and the listwise
loss and the parity checks need the logit.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from merlin.models import tf as mm
from merlin.models.tf.blocks.interaction import DotProductInteraction
from numpy.typing import NDArray

from models.ranking.config import RankingConfig
from models.ranking.tables import NormalTable
from models.ranking.tasks import Task
from workflows.features.schema import ITEM_ID, OOV, USER_ID, Feature, FeatureSchema

__all__ = ["PairDots", "Ranker", "pair_positions"]

Tensors = Mapping[str, tf.Tensor]

# Combinations of context values that get an embedding each: more are too rare to learn.
MAX_JOINT_CONTEXTS = 10_000
# Of the table. The draws of training follow from it, so that another name would train another ranker.
JOINT_CONTEXT = "moment"


def pair_positions(num_fields: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """P and q of every field pair p < q, in the order of DotProductInteraction: by p, then by q."""
    return np.triu_indices(num_fields, k=1)


class PairDots(DotProductInteraction):
    """DotProductInteraction with constant positions: the same values without a boolean mask of unknown shape."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """float32 [B, F, D] -> [B, F (F - 1) / 2]."""
        num_fields = inputs.shape[1]
        p, q = pair_positions(num_fields)
        dots = tf.reshape(tf.matmul(inputs, inputs, transpose_b=True), (-1, num_fields * num_fields))
        return tf.gather(dots, tf.constant(p * num_fields + q, tf.int32), axis=1)


class Ranker(tf.keras.Model):
    """Logits of (query, item) rows.

    The last field of each side is the output of its bottom MLP over the side's continuous features; without any, over a
    constant, so that it is a learned vector and every embedding also enters linearly.

    Args:
        schema: the features.
        config: sizes; `use_user_id` "auto" is for the stage to settle, and is no here.
        pair_mean, pair_scale: float32 [P] of the training examples; pair features are standardised inside.
        skip: float32 [P], initial weights from standardised pair features straight to the logit.
        tasks: T outcomes that it has a logit for; none: the label, T is 1.
    """

    def __init__(
        self,
        schema: FeatureSchema,
        config: RankingConfig,
        pair_mean: NDArray,
        pair_scale: NDArray,
        skip: NDArray,
        tasks: Sequence[Task] = (),
    ) -> None:
        super().__init__(name="ranker")
        self.tasks, num_tasks = tuple(tasks), max(len(tasks), 1)
        self.query_features = [f for f in schema.query if config.use_user_id is True or f.name != USER_ID]
        self.item_features = list(schema.side("item"))
        self.num_pairs = len(pair_mean)
        self._id_dropout, self._dropout = config.id_dropout, config.dropout
        dim = config.embedding_dim
        self._tables = _tables([*self.query_features, *self.item_features], dim, config.embedding_spread)
        self._context = _joint_context(schema)
        if self._context:
            size = math.prod(feature.cardinality for feature in self._context)
            self._joint_contexts = NormalTable(JOINT_CONTEXT, size, dim, config.embedding_spread)
        self._bottoms = {
            "query": _bottom(self.query_features, config.bottom, dim),
            "item": _bottom(self.item_features, config.bottom, dim),
        }
        self.num_query_fields = 1 + sum(f.kind == "categorical" for f in self.query_features) + bool(self._context)
        self.num_item_fields = 1 + sum(f.kind == "categorical" for f in self.item_features)
        num_fields = self.num_query_fields + self.num_item_fields
        self._num_dots = num_fields * (num_fields - 1) // 2
        self._dots = PairDots()
        self.top = mm.MLPBlock(list(config.top))
        self.last = tf.keras.layers.Dense(num_tasks)
        self.wide = self.add_weight(
            name="wide",
            shape=(self._num_dots + 2 * dim, num_tasks),
            initializer=tf.constant_initializer(self._first_wide(self._num_dots + 2 * dim, num_tasks)),
        )
        self.pair_mean = self._constant("pair_mean", pair_mean)
        self.pair_scale = self._constant("pair_scale", pair_scale)
        first_skip = np.repeat(np.asarray(skip, np.float32)[:, None], num_tasks, axis=1)
        self.skip = self.add_weight(
            name="skip",
            shape=(self.num_pairs, num_tasks) if self.tasks else (self.num_pairs,),
            initializer=tf.constant_initializer(first_skip if self.tasks else first_skip[:, 0]),
        )

    def query_fields(self, inputs: Tensors, noise: tf.Tensor | None = None) -> tf.Tensor:
        """Query features by name -> float32 [B, Fq, D].

        Args:
            inputs: codes and values.
            noise: int32 [2], the seed of all that training draws: the same seed draws the same. None: nothing is drawn.
        """
        return self._fields("query", self.query_features, inputs, noise)

    def item_fields(self, inputs: Tensors, noise: tf.Tensor | None = None) -> tf.Tensor:
        """Item features by name -> float32 [B, Fi, D]; noise as in `query_fields`."""
        return self._fields("item", self.item_features, inputs, noise)

    def logits(
        self, query: tf.Tensor, item: tf.Tensor, pair: tf.Tensor | None, noise: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Fields of both sides and raw pair features [B, P] -> logits float32 [B, T]; noise as in `query_fields`."""
        shared = tf.concat([self._dots(tf.concat([query, item], axis=1)), query[:, -1], item[:, -1]], axis=1)
        if self.num_pairs:
            scaled = (pair - self.pair_mean) / self.pair_scale
        inputs = tf.concat([shared, scaled], axis=1) if self.num_pairs else shared
        logit = self.last(self._hidden(inputs, noise)) + tf.matmul(shared, self.wide)
        if self.num_pairs:
            skip = tf.matmul(scaled, self.skip) if self.tasks else tf.reduce_sum(scaled * self.skip, 1, keepdims=True)
            logit += skip
        return logit

    def call(self, inputs: Tensors) -> tf.Tensor:
        """Query and item features by name, each [B, 1] or [B, L], and `pair` [B, P] -> logits float32 [B, T]."""
        return self.logits(self.query_fields(inputs), self.item_fields(inputs), inputs.get("pair"))

    def rescale(self, factor: float | NDArray, offset: float | NDArray) -> None:
        """Replace each task's logit z by factor * z + offset, [T]: calibration that leaves its order as it is."""
        self.last.kernel.assign(self.last.kernel * factor)
        self.last.bias.assign(self.last.bias * factor + offset)
        self.wide.assign(self.wide * factor)
        self.skip.assign(self.skip * factor)

    @property
    def normal_tables(self) -> list[NormalTable]:
        """Every embedding table, in the order of `looked_up`."""
        return [*self._tables.values(), *([self._joint_contexts] if self._context else [])]

    def looked_up(self, inputs: Tensors) -> list[tuple[NormalTable, tf.Tensor]]:
        """Every embedding table, and the codes that some inputs look up in it, int32 [R]; padding among them."""
        found = []
        for domain, table in self._tables.items():
            features = [f for f in (*self.query_features, *self.item_features) if f.domain == domain]
            codes = [tf.reshape(inputs[feature.name], [-1]) for feature in features]
            found.append((table, tf.concat(codes, axis=0)))
        if self._context:
            found.append((self._joint_contexts, self._joint_context(inputs)[:, 0]))
        return found

    def tables(self, domains: Iterable[str]) -> dict[str, NDArray[np.float32]]:
        """The embedding tables of some domains, float32 [V, D]."""
        return {domain: self._tables[domain].values() for domain in sorted(domains)}

    def bottom_layers(self, side: str) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Kernel and bias of each layer of a side's bottom MLP, "query" or "item"; ReLU between them."""
        layers = [layer.dense.get_weights() for layer in self._bottoms[side].layers if hasattr(layer, "dense")]
        return [(kernel, bias) for kernel, bias in layers]

    def _first_wide(self, length: int, num_tasks: int) -> NDArray[np.float32]:
        """1 for the dot of every user field with every item field, else 0; float32 [length, T]."""
        p, q = pair_positions(self.num_query_fields + self.num_item_fields)
        first = np.zeros((length, num_tasks), np.float32)
        first[np.flatnonzero((p < self.num_query_fields) & (q >= self.num_query_fields))] = 1.0
        return first

    def _constant(self, name: str, values: NDArray) -> tf.Variable:
        initial = tf.constant_initializer(np.asarray(values, np.float32))
        return self.add_weight(name=name, shape=np.shape(values), initializer=initial, trainable=False)

    def _hidden(self, inputs: tf.Tensor, noise: tf.Tensor | None) -> tf.Tensor:
        """The top MLP, a share of zeros after each layer where something is drawn."""
        if noise is None or not self._dropout:
            return self.top(inputs)
        for number, layer in enumerate(self.top.layers):
            seed = _seed(noise, f"dropout of layer {number}")
            inputs = tf.nn.experimental.stateless_dropout(layer(inputs), self._dropout, seed)
        return inputs

    def _fields(self, side: str, features: Sequence[Feature], inputs: Tensors, noise: tf.Tensor | None) -> tf.Tensor:
        fields = [self._embed(feature, inputs, noise) for feature in features if feature.kind == "categorical"]
        if side == "query" and self._context:
            fields.append(self._joint_contexts.scalar(self._joint_context(inputs), _seed(noise, JOINT_CONTEXT)))
        continuous = [inputs[feature.name] for feature in features if feature.kind == "continuous"]
        if continuous:
            dense = tf.concat([tf.cast(values, tf.float32) for values in continuous], axis=1)
        else:
            dense = tf.ones_like(fields[0][:, :1])
        return tf.stack([*fields, self._bottoms[side](dense)], axis=1)

    def _joint_context(self, inputs: Tensors) -> tf.Tensor:
        """The code of the context's values together, [B, 1]."""
        code = tf.zeros_like(inputs[self._context[0].name])
        for feature in self._context:
            code = code * feature.cardinality + inputs[feature.name]
        return code

    def _embed(self, feature: Feature, inputs: Tensors, noise: tf.Tensor | None) -> tf.Tensor:
        """A feature's embedding, [B, D]; of a list, the mean over its values without the padding."""
        codes = inputs[feature.name]
        if noise is not None and self._id_dropout and feature.name in (USER_ID, ITEM_ID):
            draws = tf.random.stateless_uniform(tf.shape(codes), _seed(noise, f"id dropout of {feature.name}"))
            codes = tf.where(draws < self._id_dropout, tf.cast(OOV, codes.dtype), codes)
        table, seed = self._tables[feature.domain], _seed(noise, f"embedding of {feature.name}")
        return table.pooled(codes, seed) if feature.length else table.scalar(codes, seed)


def _tables(features: Sequence[Feature], dim: int, spread: float) -> dict[str, NormalTable]:
    """One embedding table a domain, as large as its largest feature needs."""
    sizes: dict[str, int] = {}
    for feature in features:
        if feature.kind == "categorical":
            sizes[feature.domain] = max(sizes.get(feature.domain, 0), feature.cardinality)
    return {domain: NormalTable(domain, size, dim, spread) for domain, size in sizes.items()}


def _joint_context(schema: FeatureSchema) -> list[Feature]:
    """The context features that are one field together; none where there are not two, or too many combinations."""
    scalars = [f for f in schema.side("context") if f.kind == "categorical" and not f.length]
    size = math.prod(feature.cardinality for feature in scalars)
    return scalars if len(scalars) > 1 and size <= MAX_JOINT_CONTEXTS else []


def _bottom(features: Sequence[Feature], widths: Sequence[int], dim: int) -> tf.keras.layers.Layer:
    hidden = widths if any(feature.kind == "continuous" for feature in features) else ()
    return mm.MLPBlock([*hidden, dim], no_activation_last_layer=True)


def _seed(noise: tf.Tensor | None, place: str) -> tf.Tensor | None:
    """The seed of one draw of a step: another one for each place in the model; None where nothing is drawn."""
    if noise is None:
        return None
    return tf.random.experimental.stateless_fold_in(noise, zlib.crc32(place.encode()) >> 1)
