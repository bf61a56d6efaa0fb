"""The training loop over the towers. Imports TensorFlow.

A loop of its own instead of Model.fit: the validation metric is recall over the whole catalogue, the state after every
epoch is on disk, and a step is one graph call on plain tensors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.ahead import ahead
from models.data import Batch, Events, Features
from models.optimizer import Adam, cosine
from models.retrieval.checkpoint import Checkpoint, Progress
from models.retrieval.config import RetrievalConfig
from models.retrieval.objective import catalogue_loss, in_batch_loss, sets_loss, takes_all_negatives
from models.retrieval.sets import OWNER, set_batches
from models.retrieval.towers import Towers
from models.retrieval.validation import ValidationSet, recall_at_k
from models.retrieval.windows import PLACE, window_batches
from models.team import Team
from workflows.core import console
from workflows.features.schema import HISTORY, ITEM_ID, OOV, PADDING, USER_ID, Feature

__all__ = ["Step", "compile_step", "embed_items", "embed_queries", "step_inputs", "train"]

ENCODE_BATCH = 8192
# Epochs of windows are few, as their learning rate falls: a small log makes them of smaller batches, within reason.
STEPS_PER_EPOCH, SMALLEST_BATCH = 32, 64

Step = Callable[[Batch, Batch, NDArray, NDArray], tf.Tensor]


def train(
    towers: Towers,
    features: Features,
    positives: Events,
    popularity: NDArray[np.float32],
    validation: ValidationSet,
    config: RetrievalConfig,
    checkpoint: Checkpoint,
    mark: str,
    team: Team | None = None,
    after_epoch: Callable[[dict[str, Any]], None] | None = None,
) -> list[dict[str, Any]]:
    """Train both towers in place and leave the weights of the best epoch in them.

    Args:
        towers: fresh towers.
        features: of the run.
        positives: training rows, each with an item of the catalogue.
        popularity: float32 [N], for the logQ correction.
        validation: empty: no early stopping, the last epoch is kept.
        config: everything else.
        checkpoint: where the state after each epoch goes; a matching one is resumed.
        mark: identifies config and inputs in the checkpoint.
        team: the processes that train together; each takes its share of the rows, the first validates and keeps the
            checkpoint.
        after_epoch: called with the record of each epoch once it is on disk.

    Returns:
        A record per epoch: epoch, loss, examples_per_s and, with validation, recall_at_<k>.
    """
    team = team or Team()
    optimizer = Adam(towers.variables, config.learning_rate, config.lazy_adam_from)
    variables = [*towers.variables, *optimizer.variables]
    num_weights = len(towers.variables)
    progress, best = Progress(mark), [v.numpy() for v in towers.variables]
    if team.leads and (saved := checkpoint.load()) is not None:
        progress, current, best = saved
        _assign(variables, current)
        console.say(f"retrieval: resuming after epoch {len(progress.history)}")
    progress = team.first(lambda: progress, Progress)
    team.copy(variables)
    step = compile_step(towers, features, popularity, config, optimizer, team)
    metric = f"recall_at_{config.validation_cutoff}"
    while len(progress.history) < config.max_epochs and not _patience_is_over(progress, config):
        epoch = len(progress.history)
        record = _epoch(epoch, step, optimizer, features, positives, config, team)
        if len(validation):
            record[metric] = team.first(lambda: _recall(towers, features, validation, config), float)
        progress.history.append(record)
        if progress.best_epoch < 0 or record.get(metric, epoch) > progress.history[progress.best_epoch].get(metric, -1):
            progress.best_epoch, best = epoch, [v.numpy() for v in towers.variables]
        if team.leads:
            checkpoint.save(progress, [v.numpy() for v in variables], best)
        console.say(_line(record))
        if after_epoch:
            after_epoch(record)
    _assign(variables[:num_weights], best)
    return [{**record, "best": i == progress.best_epoch} for i, record in enumerate(progress.history)]


def embed_items(towers: Towers, features: Features) -> NDArray[np.float32]:
    """The item tower over the whole catalogue: float32 [N, D] by item_row."""
    rows = np.arange(features.num_items)
    embeddings: NDArray[np.float32] | None = None
    for start in range(0, len(rows), ENCODE_BATCH):
        block = towers.encode_item(features.item_inputs(rows[start : start + ENCODE_BATCH]))
        if embeddings is None:
            # Whole from the first block on: gathering the blocks would hold the catalogue twice.
            embeddings = np.empty((len(rows), block.shape[1]), np.float32)
        embeddings[start : start + len(block)] = block
    assert embeddings is not None
    return embeddings


def embed_queries(towers: Towers, inputs: Batch) -> NDArray[np.float32]:
    """The query tower over prepared inputs: float32 [B, D]."""
    num_rows = len(inputs[HISTORY])
    starts = range(0, num_rows, ENCODE_BATCH)
    return np.concatenate(
        [towers.encode_query({n: v[i : i + ENCODE_BATCH] for n, v in inputs.items()}) for i in starts]
    )


def _recall(towers: Towers, features: Features, validation: ValidationSet, config: RetrievalConfig) -> float:
    embeddings = embed_items(towers, features)
    return recall_at_k(validation, lambda rows: embed_queries(towers, rows), embeddings, config.validation_cutoff)


def _epoch(
    epoch: int,
    step: Step,
    optimizer: Adam,
    features: Features,
    positives: Events,
    config: RetrievalConfig,
    team: Team,
) -> dict[str, Any]:
    seed = config.seed * 1_000_003 + epoch
    num_rows = len(positives) // team.size
    batch_size = max(1, min(config.batch_size, num_rows))
    if config.rows == "windows":
        batch_size = min(batch_size, max(num_rows // STEPS_PER_EPOCH, SMALLEST_BATCH))
    losses, started_at, num_done = [], time.perf_counter(), 0
    length = features.schema.history_length
    if config.rows == "sets":
        batches = set_batches(positives, features, config.batch_size, length, seed=seed, shard=team.shard)
    elif config.rows == "windows":
        batches = window_batches(positives, features, batch_size, length, seed=seed, shard=team.shard)
    else:
        batches = positives.batches(batch_size, seed=seed, shard=team.shard, drop_last=True)
    with console.progress(f"retrieval epoch {epoch + 1}", num_rows, "examples") as bar:
        for i, inputs in enumerate(ahead(step_inputs(features, batches))):
            if config.rows == "windows":
                done = (epoch + min(num_done / num_rows, 1.0)) / config.max_epochs
                optimizer.set_learning_rate(config.learning_rate * cosine(done))
            noise = np.array([seed, i * team.size + team.shard.rank], np.int32)
            losses.append(step(*inputs, noise))
            num_done += len(inputs[-1])
            bar.advance(bar.task_ids[0], len(inputs[-1]))
    loss = team.mean(float(np.mean([float(value) for value in losses])))
    speed = num_done * team.size / (time.perf_counter() - started_at)
    return {"epoch": epoch + 1, "loss": loss, "examples_per_s": round(speed)}


def step_inputs(features: Features, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Batch, NDArray]]:
    """Query inputs, item inputs and item_row int32 [B] of encoded events, batch by batch."""
    for batch in batches:
        item_row = batch["item_row"].astype(np.int32)
        extra = {name: batch[name] for name in (OWNER, PLACE) if name in batch}
        yield features.event_inputs(batch) | extra, features.item_inputs(item_row), item_row


def compile_step(
    towers: Towers,
    features: Features,
    popularity: NDArray[np.float32],
    config: RetrievalConfig,
    optimizer: Adam,
    team: Team,
) -> Step:
    """One optimizer step as a graph function of query inputs, item inputs, item_row [B] and a noise seed [2].

    Of rows that are sets, the query inputs are of the users [B], OWNER [R] and item_row [R] of their targets. Of rows
    that are windows, HISTORY and PLACE are those of `window_batches`.
    """
    num_items = features.num_items
    everything = takes_all_negatives(config, num_items)
    catalogue = {}
    if everything:
        inputs = features.item_inputs(np.arange(num_items))
        catalogue = {name: tf.constant(value) for name, value in inputs.items()}
    contrast = None if everything else in_batch_loss(config, popularity)
    weights = towers.variables

    def run(query_inputs: Any, item_inputs: Any, item_row: Any, noise: Any) -> tf.Tensor:
        query_inputs = _with_dropout(query_inputs, towers.query_features, config, noise)
        with tf.GradientTape() as tape:
            if config.rows == "windows":
                states = towers.history_states(query_inputs[HISTORY], noise)
                query_inputs[HISTORY] = tf.gather(states, query_inputs[PLACE])
            query = towers.query({f.name: query_inputs[f.name] for f in towers.query_features}, training=True)
            if contrast is None:
                hidden = _with_dropout(catalogue, towers.item_features, config, noise)
                items = towers.item(hidden, training=True)
                if config.rows == "sets":
                    loss = sets_loss(query, items, query_inputs[OWNER], item_row, config.temperature)
                else:
                    loss = catalogue_loss(query, items, item_row, config.temperature)
            else:
                hidden = _with_dropout(item_inputs, towers.item_features, config, noise)
                loss = contrast(query, towers.item(hidden, training=True), item_row)
        gradients = team.average(tape.gradient(loss, weights))
        optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return loss

    specs = [_specs(towers.query_features), _specs(towers.item_features)]
    if config.rows == "sets":
        specs[0][OWNER] = tf.TensorSpec([None], tf.int32)
    if config.rows == "windows":
        specs[0] |= {HISTORY: tf.TensorSpec([None, None], tf.int32), PLACE: tf.TensorSpec([None], tf.int32)}
    signature = [*specs, tf.TensorSpec([None], tf.int32), tf.TensorSpec([2], tf.int32)]
    graph = tf.function(run, input_signature=signature, autograph=False)

    def step(query_inputs: Batch, item_inputs: Batch, item_row: NDArray, noise: NDArray) -> tf.Tensor:
        return graph({name: query_inputs[name] for name in specs[0]}, item_inputs, item_row, noise)

    return step


def _with_dropout(inputs: Any, features: list[Feature], config: RetrievalConfig, noise: tf.Tensor) -> dict[str, Any]:
    """Hide a share of the ids (as out of vocabulary) and of the recent items (as padding)."""
    hide = {USER_ID: (config.id_dropout, OOV), ITEM_ID: (config.id_dropout, OOV)}
    hide[HISTORY] = (config.history_dropout, PADDING)
    result = dict(inputs)
    for i, feature in enumerate(features):
        share, code = hide.get(feature.name, (0.0, 0))
        if share > 0:
            values = result[feature.name]
            draws = tf.random.stateless_uniform(tf.shape(values), noise + tf.constant([i, 0]))
            result[feature.name] = tf.where(draws < share, tf.constant(code, values.dtype), values)
    return result


def _specs(features: list[Feature]) -> dict[str, tf.TensorSpec]:
    dtypes = {"categorical": tf.int32, "continuous": tf.float32}
    return {f.name: tf.TensorSpec([None, f.length or 1], dtypes[f.kind], name=f.name) for f in features}


def _patience_is_over(progress: Progress, config: RetrievalConfig) -> bool:
    return progress.best_epoch >= 0 and len(progress.history) - 1 - progress.best_epoch >= config.patience


def _assign(variables: list[tf.Variable], values: list[NDArray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _line(record: dict[str, Any]) -> str:
    parts = [f"{name} {value:.4f}" for name, value in record.items() if isinstance(value, float)]
    return f"retrieval: epoch {record['epoch']}: " + ", ".join([*parts, f"{record['examples_per_s']:,} examples/s"])
