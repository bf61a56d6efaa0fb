"""The training loop over the towers. Imports TensorFlow.

A loop of its own instead of Model.fit: the validation metric is recall over the whole catalogue, the state after every
epoch is on disk, and a step is one graph call on plain tensors.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.dataset.features import Batch, Features, Shard
from models.retrieval.checkpoint import Checkpoint, Progress, assign
from models.retrieval.event_examples import EventExamples
from models.retrieval.objective import in_batch_loss, mixed_loss
from models.retrieval.settled import TowerTraining
from models.retrieval.towers import Towers
from models.retrieval.validation import ValidationSet, recall_at_k
from models.training.finite import CHECKED_EVERY, check_loss, check_weights
from models.training.optimizer import Adam
from models.training.prefetch import prefetch
from models.training.team import Team
from workflows.core import console
from workflows.features.schema import HISTORY, ITEM_ID, OOV, PADDING, USER_ID, Feature

__all__ = ["Step", "compile_step", "embed_items", "embed_queries", "step_inputs", "train"]

ENCODE_BATCH = 8192

Step = Callable[[Batch, Batch, NDArray, NDArray], tf.Tensor]


def train(
    towers: Towers,
    examples: EventExamples,
    popularity: NDArray[np.float32],
    validation: ValidationSet | None,
    checkpoint: Checkpoint,
    fingerprint: str,
    team: Team | None = None,
) -> list[dict[str, Any]]:
    """Train both towers in place and leave the weights of the best epoch in them.

    Args:
        towers: as they are to start.
        examples: what to train on, and the config.
        popularity: float32 [N], for the logQ correction.
        validation: none, or without users: no early stopping, the last epoch is kept.
        checkpoint: where the state after each epoch goes; a matching one is resumed.
        fingerprint: identifies config and inputs in the checkpoint.
        team: the processes that train together; each takes its share of the examples, the first validates and keeps the
            checkpoint.

    Returns:
        A record per epoch: epoch, loss, examples_per_s, whether it was the best and, with validation, recall_at_<k>.

    Raises:
        TrainingError: the loss, or a weight, is no finite number.
    """
    config = examples.config
    team = team or Team()
    optimizer = Adam(towers.variables, config.learning_rate, config.lazy_adam_from)
    variables = [*towers.variables, *optimizer.variables]
    num_weights = len(towers.variables)
    progress, best = Progress(fingerprint), [v.numpy() for v in towers.variables]
    if team.is_chief and (saved := checkpoint.load()) is not None:
        progress, current, best = saved
        assign(variables, current)
        console.say(f"retrieval: resuming after epoch {len(progress.history)}")
    progress = team.first(lambda: progress, Progress)
    team.copy(variables)
    step = compile_step(towers, examples, popularity, optimizer, team)
    metric = f"recall_at_{config.validation_cutoff}"
    while len(progress.history) < config.max_epochs and not _patience_is_over(progress, config):
        epoch = len(progress.history)
        record = _epoch(epoch, step, optimizer, examples, team)
        if validation:
            record[metric] = team.first(lambda: _recall(towers, examples, validation), float)
        progress.history.append(record)
        if progress.best_epoch < 0 or record.get(metric, epoch) > progress.history[progress.best_epoch].get(metric, -1):
            progress.best_epoch, best = epoch, [v.numpy() for v in towers.variables]
        if team.is_chief:
            checkpoint.save(progress, [v.numpy() for v in variables], best)
        console.say(_line(record))
    check_weights("retrieval", best, _remedies(config))
    assign(variables[:num_weights], best)
    return progress.records()


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


def _recall(towers: Towers, examples: EventExamples, validation: ValidationSet) -> float:
    embeddings = embed_items(towers, examples.features)
    cutoff = examples.config.validation_cutoff
    return recall_at_k(validation, lambda inputs: embed_queries(towers, inputs), embeddings, cutoff)


def _epoch(epoch: int, step: Step, optimizer: Adam, examples: EventExamples, team: Team) -> dict[str, Any]:
    seed = examples.config.seed * 1_000_003 + epoch
    num_targets, num_drawn = examples.num_targets // team.size, _num_drawn(examples)
    losses, started_at, num_done = [], time.perf_counter(), 0
    with console.progress(f"retrieval epoch {epoch + 1}", num_targets, "examples") as bar:
        for i, inputs in enumerate(prefetch(step_inputs(examples, seed=seed, shard=team.shard))):
            optimizer.set_learning_rate(examples.learning_rate(epoch + min(num_done / num_targets, 1.0)))
            noise = np.array([seed % 2**31, i * team.size + team.shard.rank], np.int32)
            losses.append(step(*inputs, noise))
            if len(losses) % CHECKED_EVERY == 0:
                check_loss("retrieval", epoch, len(losses), team.mean(float(losses[-1])), _remedies(examples.config))
            num_rows = len(inputs[-1]) - num_drawn
            num_done += num_rows
            bar.advance(bar.task_ids[0], num_rows)
    loss = team.mean(float(np.mean([float(value) for value in losses])))
    check_loss("retrieval", epoch, len(losses), loss, _remedies(examples.config))
    speed = num_done * team.size / (time.perf_counter() - started_at)
    return {"epoch": epoch + 1, "loss": loss, "examples_per_s": round(speed)}


def step_inputs(examples: EventExamples, *, seed: int, shard: Shard) -> Iterator[tuple[Batch, Batch, NDArray]]:
    """Query inputs of a process's share of the examples, batch by batch, and the items that it is trained on.

    Yields:
        Query inputs; item inputs; and item_row int32 [R + M], the R targets first, then the uniform negatives, where
        there are such.
    """
    random = np.random.default_rng([seed, shard.rank])
    num_drawn = _num_drawn(examples)
    for batch in examples.batches(seed=seed, shard=shard):
        drawn = random.integers(examples.features.num_items, size=num_drawn)
        item_row = np.concatenate([batch["item_row"], drawn]).astype(np.int32)
        query_inputs = examples.features.event_inputs(batch) | {name: batch[name] for name in examples.inputs}
        yield query_inputs, examples.features.item_inputs(item_row), item_row


def _num_drawn(examples: EventExamples) -> int:
    return examples.config.num_uniform_negatives if examples.config.negatives == "mixed" else 0


def compile_step(
    towers: Towers, examples: EventExamples, popularity: NDArray[np.float32], optimizer: Adam, team: Team
) -> Step:
    """One optimizer step as a graph function of what `step_inputs` gives and a noise seed, int32 [2]."""
    config, num_items = examples.config, examples.features.num_items
    catalogue = {}
    if config.negatives == "all":
        inputs = examples.features.item_inputs(np.arange(num_items))
        catalogue = {name: tf.constant(value) for name, value in inputs.items()}
    contrast = None
    if config.negatives != "all":
        contrast = (mixed_loss if config.negatives == "mixed" else in_batch_loss)(config, popularity)
    weights = towers.variables

    def run(query_inputs: Any, item_inputs: Any, item_row: Any, noise: Any) -> tf.Tensor:
        query_inputs = _with_dropout(query_inputs, towers.query_features, config, noise)
        with tf.GradientTape() as tape:
            inputs = examples.query_inputs(towers, query_inputs, noise)
            query = towers.query({f.name: inputs[f.name] for f in towers.query_features}, training=True)
            hidden = _with_dropout(item_inputs if contrast else catalogue, towers.item_features, config, noise)
            items = towers.item(hidden, training=True)
            if contrast is not None:
                loss = contrast(query, items, item_row)
            else:
                loss = examples.catalogue_loss(query, items, item_row, query_inputs)
        gradients = team.average(tape.gradient(loss, weights))
        optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return loss

    specs = [{**_specs(towers.query_features), **examples.inputs}, _specs(towers.item_features)]
    signature = [*specs, tf.TensorSpec([None], tf.int32), tf.TensorSpec([2], tf.int32)]
    graph = tf.function(run, input_signature=signature, autograph=False)

    def step(query_inputs: Batch, item_inputs: Batch, item_row: NDArray, noise: NDArray) -> tf.Tensor:
        return graph({name: query_inputs[name] for name in specs[0]}, item_inputs, item_row, noise)

    return step


def _with_dropout(inputs: Any, features: list[Feature], config: TowerTraining, noise: tf.Tensor) -> dict[str, Any]:
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


def _remedies(config: TowerTraining) -> str:
    """Advice where the loss of the towers is no number."""
    return (
        f"lower retrieval.{config.examples}.learning_rate (now {config.learning_rate:g}) or raise "
        f"retrieval.temperature (now {config.temperature:g})"
    )


def _patience_is_over(progress: Progress, config: TowerTraining) -> bool:
    return progress.best_epoch >= 0 and len(progress.history) - 1 - progress.best_epoch >= config.patience


def _line(record: dict[str, Any]) -> str:
    parts = [f"{name} {value:.4f}" for name, value in record.items() if isinstance(value, float)]
    return f"retrieval: epoch {record['epoch']}: " + ", ".join([*parts, f"{record['examples_per_s']:,} examples/s"])
