"""The training objective: a softmax over the batch, over it and uniform negatives, or over the whole catalogue."""

from __future__ import annotations

from collections.abc import Callable

import merlin.models.tf as mm
import numpy as np
import tensorflow as tf
from merlin.models.tf.outputs.base import DotProduct
from merlin.models.tf.transforms.bias import PopularityLogitsCorrection
from merlin.schema import ColumnSchema, Schema, Tags
from numpy.typing import NDArray

from models.retrieval.settled import TowerTraining

__all__ = ["catalogue_loss", "in_batch_loss", "mixed_loss", "sets_loss"]

ITEM_ROW = "item_row"

InBatchLoss = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
MixedLoss = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def in_batch_loss(config: TowerTraining, popularity: NDArray[np.float32]) -> InBatchLoss:
    """The mean contrastive loss of a batch as Merlin Models computes it; the same item is never its own negative.

    Args:
        config: temperature and whether logits are corrected.
        popularity: float32 [N], training positives of each item: the sampling probability of in-batch negatives.

    Returns:
        A function of query [B, D], item [B, D] and item_row int32 [B] that gives a scalar.

    Reference:
        Yi et al., Sampling-bias-corrected neural modeling for large corpus item recommendations, RecSys 2019.
    """
    properties = {"domain": {"name": ITEM_ROW, "min": 0, "max": len(popularity) - 1}}
    schema = Schema(
        [ColumnSchema(ITEM_ROW, dtype="int32", tags=[Tags.CATEGORICAL, Tags.ITEM_ID], properties=properties)]
    )
    correction = None
    if config.logq:
        # Merlin corrects before it divides by the temperature; the factor makes it logit / t - log q.
        correction = PopularityLogitsCorrection(
            np.maximum(popularity, 1.0), reg_factor=config.temperature, schema=schema
        )
    output = mm.ContrastiveOutput(
        DotProduct(),
        negative_samplers="in-batch",
        schema=schema,
        logits_temperature=config.temperature,
        post=correction,
        store_negative_ids=True,
    )

    def loss(query: tf.Tensor, item: tf.Tensor, item_row: tf.Tensor) -> tf.Tensor:
        prediction = output(
            {"query": query, "candidate": item}, features={ITEM_ROW: item_row[:, None]}, training=True
        )  # logits (B, 1 + B), the positive first
        return -tf.reduce_mean(tf.nn.log_softmax(prediction.outputs)[:, 0])

    return loss


def mixed_loss(config: TowerTraining, popularity: NDArray[np.float32]) -> MixedLoss:
    """The mean softmax cross-entropy over the items of the batch and others that were drawn uniformly.

    In-batch negatives alone are as popular as the positives: items that nobody has are never pushed away from a query.
    With B rows and M drawn items, item i is expected B p_i + M / N times among the candidates, whose logarithm corrects
    its logit. An item that is a row's positive is not among that row's negatives.

    Args:
        config: temperature and whether logits are corrected.
        popularity: float32 [N], training positives of each item: p_i is its share of them.

    Returns:
        A function of query [B, D], items [B + M, D] (those of the rows first) and their item_row int32 [B + M] that
        gives a scalar.

    Reference:
        Yang et al., Mixed negative sampling for learning two-tower neural networks in recommendations, WWW 2020.
    """
    share = tf.constant(np.maximum(popularity, 1.0) / np.maximum(popularity, 1.0).sum(), tf.float32)
    num_items = float(len(popularity))

    def loss(query: tf.Tensor, items: tf.Tensor, item_row: tf.Tensor) -> tf.Tensor:
        num_rows, query = tf.shape(query)[0], query / config.temperature
        if config.logq:
            num_drawn = tf.shape(item_row)[0] - num_rows
            counts = tf.cast(num_rows, tf.float32) * tf.gather(share, item_row)
            correction = tf.math.log(counts + tf.cast(num_drawn, tf.float32) / num_items)
            # as one more dimension: subtracting it from the logits would go through all of them once more
            query = tf.concat([query, -tf.ones_like(query[:, :1])], axis=1)
            items = tf.concat([items, correction[:, None]], axis=1)
        logits = tf.matmul(query, items, transpose_b=True)  # (B, B + M)
        places = tf.range(num_rows)
        again = tf.equal(item_row[:num_rows, None], item_row) & (places[:, None] != tf.range(tf.shape(item_row)[0]))
        logits = tf.where(again, logits.dtype.min, logits)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(places, logits))

    return loss


def catalogue_loss(query: tf.Tensor, catalogue: tf.Tensor, item_row: tf.Tensor, temperature: float) -> tf.Tensor:
    """The mean softmax cross-entropy over every item of the catalogue.

    Args:
        query: float32 [B, D].
        catalogue: float32 [N, D].
        item_row: int32 [B], the positive of each row.
        temperature: divides the logits.
    """
    logits = tf.matmul(query, catalogue, transpose_b=True) / temperature  # (B, N)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(item_row, logits))


def sets_loss(
    query: tf.Tensor, catalogue: tf.Tensor, owner: tf.Tensor, item_row: tf.Tensor, temperature: float
) -> tf.Tensor:
    """The mean of `catalogue_loss` over targets of which several share a query.

    Args:
        query: float32 [B, D].
        catalogue: float32 [N, D].
        owner: int32 [R], the query of each target.
        item_row: int32 [R], the target.
        temperature: divides the logits.
    """
    logits = tf.matmul(query, catalogue, transpose_b=True) / temperature  # (B, N)
    positive = tf.gather_nd(logits, tf.stack([owner, item_row], axis=1))  # (R,)
    return tf.reduce_mean(tf.gather(tf.reduce_logsumexp(logits, axis=1), owner) - positive)
