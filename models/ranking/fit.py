"""The training loop of the ranker: one compiled step, early stopping, a checkpoint after each epoch."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from models.metrics.classification import auc, log_loss
from models.ranking.groups import Group, GroupSource
from models.ranking.model import Ranker
from models.ranking.prior import Prior
from models.ranking.settled import RankerTraining
from models.ranking.task_loss import task_losses
from models.retrieval.checkpoint import Checkpoint, Progress, assign
from models.training.finite import CHECKED_EVERY, check_loss, check_weights
from models.training.optimizer import Adam, cosine
from models.training.prefetch import prefetch
from models.training.team import Team
from workflows.core import console

__all__ = [
    "Predictions",
    "build",
    "compile_step",
    "fit",
    "group_losses",
    "predict",
    "prior_of",
    "sigmoid",
    "step_seed",
    "tensors",
]

NO_ITEM_LOGIT = -1e9


class Predictions(msgspec.Struct, frozen=True):
    """Logits of a source, in its order: logits and labels [R, M], of tasks [R, M, T], and mask [R, M]."""

    logits: NDArray[np.float32]
    labels: NDArray[np.float32]
    mask: NDArray[np.bool_]

    def flat(self) -> tuple[NDArray, NDArray]:
        """Labels and logits of the items that exist, [N], of tasks [N, T]."""
        return self.labels[self.mask], self.logits[self.mask]


def group_losses(logits: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor, listwise: bool) -> tf.Tensor:
    """Loss of each group, float32 [G].

    Args:
        logits: [G, M].
        labels: [G, M]; in a listwise group column 0 is the positive, whatever stands here.
        mask: bool [G, M].
        listwise: softmax cross-entropy of the positive within its group, else binary cross-entropy of each row.
    """
    if listwise:
        logits = tf.where(mask, logits, NO_ITEM_LOGIT)
        return -tf.nn.log_softmax(logits, axis=1)[:, 0]
    return tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)[:, 0]


def fit(
    model: Ranker,
    train: GroupSource,
    valid: GroupSource | None,
    config: RankerTraining,
    checkpoint: Checkpoint,
    fingerprint: str,
    team: Team | None = None,
) -> list[dict[str, Any]]:
    """Train until the validation loss stops falling; the model ends with the weights of its best epoch.

    The learning rate falls to 0 along half a cosine over `max_epochs`.

    Args:
        model: as it is to start; resumed where the checkpoint has its training.
        train: what to learn from; of several processes, this one's share.
        valid: what to stop by; none: all epochs are run, and the last one is kept.
        config: the step and how long.
        checkpoint: written after each epoch.
        fingerprint: identifies config and inputs in the checkpoint.
        team: the processes that train together; the first validates and keeps the checkpoint.

    Returns:
        A record per epoch: epoch, train_loss, whether it was the best and, with `valid`, valid_loss and valid_auc.

    Raises:
        TrainingError: a loss, or a weight, is no finite number.
    """
    team = team or Team()
    build(model, train, config)
    optimizer = Adam(model.trainable_variables, config.learning_rate, config.lazy_adam_from)
    prior = prior_of(model, train, config, optimizer, team)
    step = compile_step(model, train, config, optimizer, team, prior)
    variables, own = [*model.weights, *optimizer.variables], prior.variables if prior else []
    scorer = Scorer(model)
    progress, best = _resume(variables, own, checkpoint, fingerprint, team)
    best = best or model.get_weights()
    for epoch in range(len(progress.history), config.max_epochs):
        if epoch - progress.best_epoch > config.patience and progress.history:
            break
        losses: list[tf.Tensor] = []
        counts: list[int] = []
        with console.progress(f"ranking: epoch {epoch + 1}", train.num_rows, "examples") as bar:
            seed = config.seed + epoch
            for number, group in enumerate(prefetch(train.batches(config.batch_size, seed=seed))):
                done = min(len(counts) * config.batch_size / max(train.num_rows, 1), 1.0)
                optimizer.set_learning_rate(config.learning_rate * cosine((epoch + done) / config.max_epochs))
                noise = step_seed(seed, number * team.size + team.shard.rank)
                losses.append(step(*tensors(group), noise))  # left on the device: reading it would wait for the step
                counts.append(len(group.labels))
                if len(losses) % CHECKED_EVERY == 0:
                    check_loss("ranking", epoch, len(losses), team.mean(float(losses[-1])), _remedies(config))
                bar.advance(bar.task_ids[0], group.mask.size)
        record: dict[str, Any] = {"epoch": epoch + 1, "train_loss": team.mean(_mean_loss(losses, counts))}
        check_loss("ranking", epoch, len(losses), record["train_loss"], _remedies(config))
        if valid is not None:
            record |= team.first(lambda: _validate(scorer, valid, config), dict)
            check_loss("ranking", epoch, len(losses), record["valid_loss"], _remedies(config), of="valid loss")
        progress.history.append(record)
        if valid is None or record["valid_loss"] < _best_loss(progress):
            progress.best_epoch, best = epoch, model.get_weights()
        counted = [team.stack(v.numpy()) for v in own]
        if team.is_chief:
            checkpoint.save(progress, [*(v.numpy() for v in variables), *counted], best)
        console.say(_line(record))
    check_weights("ranking", best, _remedies(config))
    model.set_weights(best)
    return progress.records()


def _remedies(config: RankerTraining) -> str:
    return f"lower ranking.learning_rate (now {config.learning_rate:g})"


def _best_loss(progress: Progress) -> float:
    """The lowest validation loss before this epoch."""
    return float(progress.history[progress.best_epoch]["valid_loss"]) if progress.best_epoch >= 0 else np.inf


def _line(record: dict[str, Any]) -> str:
    known = {name: value for name, value in record.items() if isinstance(value, float) and np.isfinite(value)}
    parts = [f"{name.replace('_', ' ')} {value:.4f}" for name, value in known.items()]
    return f"ranking: epoch {record['epoch']}: " + ", ".join(parts)


class Scorer:
    """A model's logits as one graph function, traced at the first group; sources of one kind of groups share it."""

    def __init__(self, model: Ranker) -> None:
        self.model = model
        self._score: Any = None

    def __call__(self, source: GroupSource, batch_size: int) -> Predictions:
        """Logits of every row of a source."""
        parts = []
        for group in source.batches(batch_size):
            self._score = self._score or _compile_score(self.model, group)
            parts.append((self._score(*tensors(group)).numpy(), group.labels, group.mask))
        logits, labels, mask = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Predictions(logits, labels, mask)


def predict(model: Ranker, source: GroupSource, batch_size: int) -> Predictions:
    """Logits of every row of a source; to score several times, keep a Scorer."""
    return Scorer(model)(source, batch_size)


def step_seed(epoch_seed: int, number: int) -> NDArray[np.int32]:
    """The noise seed of a step, int32 [2]: what is drawn follows from config, epoch and step alone."""
    return np.array([epoch_seed % 2**31, number], np.int32)


def sigmoid(logits: NDArray) -> NDArray[np.float64]:
    """1 / (1 + exp(-z)), without overflow."""
    found: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * np.asarray(logits, np.float64)))
    return found


def _validate(scorer: Scorer, valid: GroupSource, config: RankerTraining) -> dict[str, float]:
    found = scorer(valid, config.batch_size)
    labels, logits = found.flat()
    if valid.listwise:
        loss = float(tf.reduce_mean(group_losses(found.logits, found.labels, found.mask, True)))
    elif tasks := scorer.model.tasks:
        loss = float(tf.reduce_mean(task_losses(tf.constant(logits), tf.constant(labels), tasks)))
        labels, logits = labels[:, 0], logits[:, 0]
    else:
        loss = log_loss(labels, sigmoid(logits))
    return {"valid_loss": loss, "valid_auc": auc(labels, logits)}


def _mean_loss(losses: list[tf.Tensor], counts: list[int]) -> float:
    return float(np.average([float(loss) for loss in losses], weights=counts)) if losses else 0.0


def prior_of(model: Ranker, source: GroupSource, config: RankerTraining, optimizer: Adam, team: Team) -> Prior | None:
    """What holds the embeddings of a built model in `compile_step`; None without a prior."""
    width = next(iter(source.batches(config.batch_size))).labels.shape[1]
    return Prior(model, optimizer, source.num_rows // width, team.size) if config.embedding_spread else None


def compile_step(
    model: Ranker, source: GroupSource, config: RankerTraining, optimizer: Adam, team: Team, prior: Prior | None
) -> Any:
    """One optimizer step as a graph function of the tensors of a group and a noise seed, int32 [2]; gives its loss.

    Everything random in it follows from the seed, so that a resumed training draws what an unbroken one draws.
    """
    example = next(iter(source.batches(config.batch_size)))

    @tf.function(input_signature=(*_signature(example), tf.TensorSpec([2], tf.int32)), autograph=False)
    def step(
        query: Any, items: Any, pair: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor, noise: tf.Tensor
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = _forward(model, query, items, pair, labels, noise)
            if model.tasks:
                loss = tf.reduce_mean(task_losses(logits[:, 0], labels[:, 0], model.tasks))
            else:
                loss = tf.reduce_mean(group_losses(logits, labels, mask, source.listwise))
            total = loss + prior({**query, **items}, tf.shape(labels)[0]) if prior else loss
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(team.average(tape.gradient(total, variables)), variables, strict=True))
        return loss

    return step


def _compile_score(model: Ranker, example: Group) -> Any:
    @tf.function(input_signature=_signature(example), autograph=False)
    def score(query: Any, items: Any, pair: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        return _forward(model, query, items, pair, labels)

    return score


def _signature(example: Group) -> Any:
    """Specs of a group of any number of queries: one trace serves every batch, the short last one included."""
    return tf.nest.map_structure(lambda x: tf.TensorSpec([None, *x.shape[1:]], x.dtype), tensors(example))


def _forward(
    model: Ranker, query: Any, items: Any, pair: tf.Tensor, labels: tf.Tensor, noise: tf.Tensor | None = None
) -> tf.Tensor:
    """Logits [G, M], of tasks [G, M, T]; each query is encoded once for its M items."""
    width = tf.shape(labels)[1]
    fields = tf.repeat(model.query_fields(query, noise), width, axis=0)
    flat = tf.reshape(pair, (-1, model.num_pairs))
    logits = model.logits(fields, model.item_fields(items, noise), flat, noise)
    return tf.reshape(logits, tf.shape(labels))


def tensors(group: Group) -> tuple[Any, Any, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Query, items, pair, labels and mask of a group, on the device."""
    query = {name: tf.convert_to_tensor(values) for name, values in group.query.items()}
    items = {name: tf.convert_to_tensor(values) for name, values in group.items.items()}
    return query, items, *(tf.convert_to_tensor(values) for values in (group.pair, group.labels, group.mask))


def build(model: Ranker, source: GroupSource, config: RankerTraining) -> None:
    """Create every variable, in the same order whether or not a checkpoint follows."""
    query, items, pair, labels, _ = tensors(next(iter(source.batches(config.batch_size))))
    _forward(model, query, items, pair, labels)


def _resume(
    variables: list[tf.Variable], own: list[tf.Variable], checkpoint: Checkpoint, fingerprint: str, team: Team
) -> tuple[Progress, list[NDArray]]:
    """How far training has come, with its variables in place, and the best weights; at first none.

    Args:
        variables: the same in every process.
        own: those that differ between processes; the checkpoint has those of all.
        checkpoint: of the first process.
        fingerprint: identifies config and inputs in the checkpoint.
        team: the processes.
    """
    progress, best = Progress(fingerprint), list[NDArray]()
    stacked = [team.stack(variable.numpy()) for variable in own]
    if team.is_chief and (found := checkpoint.load()) is not None:
        progress, current, best = found
        console.say(f"ranking: resumes after epoch {len(progress.history)}")
        assign(variables, current[: len(variables)])
        stacked = current[len(variables) :]
    team.copy(variables)
    for variable, values in zip(own, stacked, strict=True):
        variable.assign(team.unstack(values))
    return team.first(lambda: progress, Progress), best
