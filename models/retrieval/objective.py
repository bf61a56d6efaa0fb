"""The training objective: a softmax over in-batch negatives with logQ correction, or over the whole catalogue."""

from __future__ import annotations

from collections.abc import Callable

import merlin.models.tf as mm
import numpy as np
import tensorflow as tf
from merlin.models.tf.outputs.base import DotProduct
from merlin.models.tf.transforms.bias import PopularityLogitsCorrection
from merlin.schema import ColumnSchema, Schema, Tags
from numpy.typing import NDArray

from models.retrieval.config import RetrievalConfig

__all__ = ["catalogue_loss", "in_batch_loss", "sets_loss", "takes_all_negatives"]

ITEM_ROW = "item_row"

InBatchLoss = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def takes_all_negatives(config: RetrievalConfig, num_items: int) -> bool:
    """Whether every item of the catalogue is a negative of every row."""
    return config.negatives == "all" or (config.negatives == "auto" and num_items <= config.all_negatives_up_to)


def in_batch_loss(config: RetrievalConfig, popularity: NDArray[np.float32]) -> InBatchLoss:
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
