"""The query and item towers: embedded features, an MLP, L2-normalised embeddings. Imports TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import merlin.models.tf as mm
import msgspec
import numpy as np
import tensorflow as tf
from merlin.schema import ColumnSchema, Schema, Tags
from numpy.typing import NDArray

from models.retrieval.history import HistoryEncoder
from models.retrieval.settled import TowerTraining
from workflows.core.errors import ConfigError
from workflows.features.schema import HISTORY, ITEM_ID, PADDING, USER_ID, Feature, FeatureSchema

__all__ = ["FeatureFields", "Towers", "build_towers", "feature_width", "merlin_schema"]

MAX_FEATURE_WIDTH = 32


class Towers(msgspec.Struct, frozen=True):
    """Both encoders. Each maps feature name -> [B, 1] or [B, L] to L2-normalised float32 [B, D]."""

    query: mm.Encoder
    item: mm.Encoder
    query_features: list[Feature]
    item_features: list[Feature]

    def history_states(self, windows: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """What the query tower makes of every beginning of some histories, in training.

        Args:
            windows: int32 [W, K] item codes, oldest first, padded right; hidden items may lie between.
            seed: int32 [2], of the dropout.

        Returns:
            float32 [W * K + 1, width]: of no item, then of the items up to each position of each window.
        """
        return self._fields.history_states(windows, seed)

    @property
    def _fields(self) -> FeatureFields:
        return next(layer for layer in self.query.submodules if isinstance(layer, FeatureFields))

    @property
    def variables(self) -> list[tf.Variable]:
        """Every trainable variable once, in a stable order (a shared table belongs to both towers)."""
        unique = {v.ref(): v for v in [*self.query.trainable_variables, *self.item.trainable_variables]}
        return list(unique.values())

    def encode_query(self, inputs: dict[str, NDArray]) -> NDArray[np.float32]:
        """Query embeddings of named inputs (further names are ignored): float32 [B, D]."""
        return _encode(self.query, {f.name: inputs[f.name] for f in self.query_features})

    def encode_item(self, inputs: dict[str, NDArray]) -> NDArray[np.float32]:
        """Item embeddings of named inputs: float32 [B, D]."""
        return _encode(self.item, {f.name: inputs[f.name] for f in self.item_features})


@tf.keras.utils.register_keras_serializable(package="cascade")
class FeatureFields(tf.keras.layers.Layer):
    """Turn named inputs into one vector: embedding lookups, masked means of lists, continuous values as they are.

    Padding (code 0) takes no part in a mean; a list of padding alone gives zeros. Where there is a history encoder, it
    reads the recent items, and its state follows their mean.
    """

    def __init__(
        self,
        features: Sequence[Feature | dict[str, Any]],
        tables: dict[str, mm.EmbeddingTable],
        history: HistoryEncoder | None = None,
        **kwargs: Any,
    ) -> None:
        """Look every categorical feature up in the table of its name."""
        super().__init__(**kwargs)
        self.history = history
        # As text: Keras tracks a list attribute and puts an empty one back when a saved tower is loaded.
        self._features_json = msgspec.json.encode(features).decode()
        self.tables = tables
        self.schema = merlin_schema(self.features)

    @property
    def features(self) -> list[Feature]:
        """The inputs, in the order of their fields."""
        return msgspec.json.decode(self._features_json, type=list[Feature])

    def call(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Concatenate the fields: [B, total width]."""
        return tf.concat([self._field(feature, inputs[feature.name]) for feature in self.features], axis=-1)

    def history_states(self, windows: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """As `Towers.history_states`."""
        assert self.history is not None
        embedded, known = self._looked_up(HISTORY, windows)
        count = tf.maximum(tf.cumsum(known, axis=1), 1.0)[:, :, None]
        mean = tf.cumsum(embedded * known[:, :, None], axis=1) / count
        states = tf.concat([mean, self.history.states(embedded, known, seed)], axis=-1)  # (W, K, width)
        return tf.pad(tf.reshape(states, [-1, states.shape[-1]]), [[1, 0], [0, 0]])

    def _looked_up(self, name: str, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Embeddings [B, L, D], and float32 [B, L]: 1 where there is a value, 0 at padding."""
        # The table itself: EmbeddingTable's own mean of a dense list would count padding.
        embedded = tf.gather(self.tables[name].table.embeddings, values)
        return embedded, tf.cast(tf.not_equal(values, PADDING), tf.float32)

    def _field(self, feature: Feature, values: tf.Tensor) -> tf.Tensor:
        if values.shape.rank == 3:
            # A loaded mm.Encoder forgets prep_features=False and gives dense lists a last axis of one.
            values = tf.squeeze(values, axis=-1)
        if feature.kind == "continuous" or values.dtype.is_floating:  # or a history that is encoded already
            return tf.cast(values, tf.float32)
        embedded, known = self._looked_up(feature.name, values)
        if feature.length == 0:
            return tf.squeeze(embedded, axis=1)
        count = tf.maximum(tf.reduce_sum(known, axis=1, keepdims=True), 1.0)  # (B, 1)
        mean = tf.reduce_sum(embedded * known[:, :, None], axis=1) / count
        if feature.name == HISTORY and self.history is not None:
            return tf.concat([mean, self.history(embedded, known)], axis=-1)
        return mean

    def place_of_items(self) -> int:
        """The first column of the item's embedding, or of what stands for the history."""
        names = [feature.name for feature in self.features]
        name = ITEM_ID if ITEM_ID in names else HISTORY
        before = sum(map(self._width, self.features[: names.index(name)]))
        # The encoder's state comes after the mean.
        return before + (self.tables[HISTORY].dim if name == HISTORY and self.history is not None else 0)

    def compute_output_shape(self, input_shape: dict[str, Any]) -> tf.TensorShape:
        """[B, total width]."""
        return tf.TensorShape([None, sum(map(self._width, self.features))])

    def _width(self, feature: Feature) -> int:
        if feature.kind == "continuous":
            return max(feature.length, 1)
        is_encoded = feature.name == HISTORY and self.history is not None
        return int(self.tables[feature.name].dim) * (2 if is_encoded else 1)

    def get_config(self) -> dict[str, Any]:
        """What Keras needs to build the layer again."""
        tables = {name: tf.keras.utils.serialize_keras_object(table) for name, table in self.tables.items()}
        history = self.history and tf.keras.utils.serialize_keras_object(self.history)
        features = msgspec.to_builtins(self.features)
        return {**super().get_config(), "features": features, "tables": tables, "history": history}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FeatureFields:
        """Build the layer from `get_config`."""
        tables = {n: tf.keras.utils.deserialize_keras_object(t) for n, t in config.pop("tables").items()}
        history = config.pop("history", None)
        return cls(tables=tables, history=history and tf.keras.utils.deserialize_keras_object(history), **config)


@tf.keras.utils.register_keras_serializable(package="cascade")
class Offset(tf.keras.layers.Layer):
    """Add a learnt vector, the query of an empty history."""

    def build(self, input_shape: Any) -> None:
        """Make the vector for inputs [B, D]."""
        # Not zeros: their direction, which alone counts, is undefined.
        self.offset = self.add_weight("offset", shape=[int(input_shape[-1])], initializer="random_normal")
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """[B, D] to [B, D]."""
        return inputs + self.offset


@tf.keras.utils.register_keras_serializable(package="cascade")
class SkipMLP(tf.keras.layers.Layer):
    """An MLP whose output is added to some columns of its input: an item's embedding, or the history's state.

    The towers then start as an inner product of item embeddings, and learn what features add to it.
    """

    def __init__(self, mlp: tf.keras.layers.Layer, start: int, width: int, **kwargs: Any) -> None:
        """Add the `width` columns from `start` on to the output."""
        super().__init__(**kwargs)
        self.mlp, self.start, self.width = mlp, start, width

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """[B, any] to [B, width]."""
        return self.mlp(inputs) + inputs[:, self.start : self.start + self.width]

    def compute_output_shape(self, input_shape: Any) -> tf.TensorShape:
        """[B, width]."""
        return tf.TensorShape([None, self.width])

    def get_config(self) -> dict[str, Any]:
        """What Keras needs to build the layer again."""
        mlp = tf.keras.utils.serialize_keras_object(self.mlp)
        return {**super().get_config(), "mlp": mlp, "start": self.start, "width": self.width}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SkipMLP:
        """Build the layer from `get_config`."""
        return cls(mlp=tf.keras.utils.deserialize_keras_object(config.pop("mlp")), **config)


def build_towers(schema: FeatureSchema, config: TowerTraining) -> Towers:
    """Build both towers with fresh weights.

    Args:
        schema: the features of the run.
        config: sizes; whether a user id and a shared item table are used; windows are read with attention.

    Raises:
        ConfigError: the attention heads do not divide the embedding.
    """
    query_features = [f for f in schema.query if config.use_user_id or f.name != USER_ID]
    item_features = schema.side("item")
    tables: dict[str, mm.EmbeddingTable] = {}
    for feature in [*item_features, *query_features]:
        if feature.kind == "categorical":
            shared = feature.name == HISTORY and config.share_item_table
            tables[feature.name] = tables[ITEM_ID] if shared else _table(feature, config.embedding_dim)
    towers = Towers(
        query=_encoder("query_tower", query_features, tables, config, _history_encoder(schema, config)),
        item=_encoder("item_tower", item_features, tables, config),
        query_features=query_features,
        item_features=item_features,
    )
    towers.query(_example(query_features))
    towers.item(_example(item_features))
    return towers


def feature_width(cardinality: int) -> int:
    """Embedding width of a feature that is not an id: grows with the fourth root of its cardinality, at most 32."""
    return int(min(MAX_FEATURE_WIDTH, max(4, round(3 * cardinality**0.25))))


def merlin_schema(features: Sequence[Feature]) -> Schema:
    """The same features as a Merlin schema."""
    return Schema([_column(feature) for feature in features])


def _column(feature: Feature) -> ColumnSchema:
    tags = [Tags.CATEGORICAL if feature.kind == "categorical" else Tags.CONTINUOUS]
    tags += {USER_ID: [Tags.USER_ID], ITEM_ID: [Tags.ITEM_ID]}.get(feature.name, [])
    properties: dict[str, Any] = {}
    if feature.kind == "categorical":
        properties["domain"] = {"name": feature.domain, "min": 0, "max": feature.cardinality - 1}
    dims = ((0, None), (feature.length, feature.length)) if feature.length else ((0, None),)
    dtype = "int32" if feature.kind == "categorical" else "float32"
    return ColumnSchema(feature.name, dtype=dtype, tags=tags, properties=properties, dims=dims)


def _table(feature: Feature, embedding_dim: int) -> mm.EmbeddingTable:
    is_id = feature.name in (USER_ID, ITEM_ID, HISTORY)
    width = embedding_dim if is_id else feature_width(feature.cardinality)
    table = mm.EmbeddingTable(width, _column(feature), name=f"{feature.name}_table")
    table.build(())
    return table


def _history_encoder(schema: FeatureSchema, config: TowerTraining) -> HistoryEncoder | None:
    if config.examples != "windows":
        return None
    if config.embedding_dim % config.num_heads:
        raise ConfigError(
            f"retrieval.windows.num_heads is {config.num_heads}, expected a divisor of retrieval.embedding_dim, "
            f"{config.embedding_dim}"
        )
    sizes = (config.num_blocks, config.num_heads, config.attention_dropout)
    return HistoryEncoder(schema.history_length, *sizes, name="history_encoder")


def _encoder(
    name: str,
    features: list[Feature],
    tables: dict[str, mm.EmbeddingTable],
    config: TowerTraining,
    history: HistoryEncoder | None = None,
) -> mm.Encoder:
    used = {f.name: tables[f.name] for f in features if f.kind == "categorical"}
    mlp = mm.MLPBlock([*config.hidden, config.embedding_dim], activation="relu", no_activation_last_layer=True)
    fields = FeatureFields(features, used, history, name=f"{name}_fields")
    layers = [mlp]
    if config.examples in ("sets", "windows"):
        skip = SkipMLP(mlp, fields.place_of_items(), config.embedding_dim, name=f"{name}_skip")
        is_bare = config.examples == "sets" and len(features) == 1
        layers = [Offset(name=f"{name}_offset")] * (name == "query_tower") if is_bare else [skip]
    return mm.Encoder(fields, *layers, post=mm.L2Norm(), prep_features=False, name=name)


def _encode(tower: mm.Encoder, inputs: dict[str, NDArray]) -> NDArray[np.float32]:
    return np.asarray(tower({name: tf.constant(value) for name, value in inputs.items()}))


def _example(features: Sequence[Feature]) -> dict[str, tf.Tensor]:
    """A batch of one row, to build the weights with."""
    return {f.name: tf.zeros([1, f.length or 1], tf.int32 if f.kind == "categorical" else tf.float32) for f in features}
