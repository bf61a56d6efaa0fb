"""Labels and probabilities of the ranker on a split, for AUC, log loss and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.dataset.features import Features, load_events, load_features, load_state
from models.dataset.new_positives import is_new
from models.onnx.export import session
from models.ranking.config import RankingConfig
from models.ranking.groups import GroupSource
from models.ranking.meta import RankingMeta
from models.ranking.tasks import Task, resolve_tasks
from runtime.ranker.tasks import probabilities
from workflows.core.artefacts import read_manifest
from workflows.core.errors import ArtefactError
from workflows.core.run import Run

__all__ = ["ranking_scores", "recorded_config", "task_scores"]

BATCH_ROWS = 8192
# What was known when a split began.
SNAPSHOT: dict[str, Literal["train", "eval"]] = {"valid": "train", "test": "eval"}


def ranking_scores(
    run: Run, split: Literal["valid", "test"], history: NDArray[np.int32] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float64]]:
    """Score a split with the exported plain graph.

    A ranker of impressions is scored on the split's impressions, one of sampled examples on the split's positives and
    negatives drawn as in its training, as of the snapshot before the split. (The valid split is what a sampled ranker
    was trained on: only its test figures are held out.)

    Args:
        run: its ranking stage has finished.
        split: which.
        history: int32 [U, L], codes that stand for the history of every impression of a user; None: each has its own,
            as of just before it.

    Returns:
        Whose rows they are, int64 [R]; labels float32 [R], 1 or 0; and probabilities float64 [R]. R is 0 where the
        split has no row that can be scored.

    Raises:
        ArtefactError: ranking, or a stage before it, has not finished.
    """
    found = _scored(run, split, history, with_tasks=False)
    if found is None:
        return np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0)
    users, labels, logits = found
    return users, labels, 0.5 * (1.0 + np.tanh(0.5 * logits[:, 0].astype(np.float64)))


def task_scores(
    run: Run, split: Literal["valid", "test"]
) -> tuple[tuple[str, ...], NDArray[np.float32], NDArray[np.float64]]:
    """Score the impressions of a split for every task.

    Args:
        run: its ranking stage has finished.
        split: which.

    Returns:
        The tasks, T of them, none where the ranker has none; labels float32 [R, T], NaN where one is not known at the
        end of the split; and float64 [R, T], the probability that each task happens.

    Raises:
        ArtefactError: ranking, or a stage before it, has not finished.
    """
    tasks = RankingMeta.load(run.require("ranking", check=False)).tasks
    found = _scored(run, split, None, with_tasks=True) if tasks else None
    names = tuple(task.task for task in tasks)
    if found is None:
        return names, np.zeros((0, len(names)), np.float32), np.zeros((0, len(names)))
    _, labels, logits = found
    return names, labels, probabilities(logits.astype(np.float64), [task.parent for task in tasks])


def _scored(
    run: Run, split: Literal["valid", "test"], history: NDArray[np.int32] | None, *, with_tasks: bool
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]] | None:
    """Users [R], labels [R] or with tasks [R, T], logits [R, T]; None where no row can be scored."""
    folder = run.require("ranking", check=False)
    meta, config = RankingMeta.load(folder), recorded_config(folder)
    tasks = resolve_tasks(config, meta.label) if with_tasks else ()
    found = _source(run, config, load_features(run), meta, split, history, tasks)
    if found is None:
        return None
    source, owner = found
    graph = session(folder / "ranker.onnx", num_threads=0)
    wanted = {node.name for node in graph.get_inputs()}
    labels, logits, masks = [], [], []
    for group in source.batches(BATCH_ROWS):
        width = group.labels.shape[1]
        feeds = {name: np.repeat(values, width, axis=0) for name, values in group.query.items()} | group.items
        feeds["pair"] = group.pair.reshape(group.mask.size, -1)
        answer = graph.run(["logit"], {name: values for name, values in feeds.items() if name in wanted})[0]
        labels.append(group.labels[group.mask])
        logits.append(answer[group.mask.ravel()])
        masks.append(group.mask.sum(axis=1))
    users = np.repeat(owner.astype(np.int64), np.concatenate(masks))
    return users, np.concatenate(labels), np.concatenate(logits)


def recorded_config(folder: Path) -> RankingConfig:
    """The [ranking] section that made a ranking folder; its keys may have the names of earlier releases.

    Raises:
        ArtefactError: there is a key that this Cascade does not know, or a value that it does not take.
    """
    recorded = read_manifest(folder).config["ranking"]
    try:
        named = {RankingMeta.renamed.get(key, key): value for key, value in recorded.items()}
        return msgspec.convert(named, RankingConfig)
    except msgspec.ValidationError as error:
        raise ArtefactError(
            f"{folder} was made with settings that this Cascade does not know ({error}); run cascade train-ranking "
            "again with --force"
        ) from None


def _source(
    run: Run,
    config: RankingConfig,
    features: Features,
    meta: RankingMeta,
    split: Literal["valid", "test"],
    history: NDArray[np.int32] | None,
    tasks: Sequence[Task],
) -> tuple[GroupSource, NDArray] | None:
    """The rows of a split and the user of each group; None where there is none."""
    from models.ranking.groups import ImpressionGroups
    from models.ranking.pairing import pairs_as_of
    from models.ranking.sampling import sample_groups

    events, names = load_events(run, split).select(known_items_only=True), meta.pair_inputs
    state = load_state(run, SNAPSHOT[split])
    if meta.training_examples == "impressions":
        if not len(events):
            return None
        pairs = pairs_as_of(run, features, names, SNAPSHOT[split], state)
        shown = ImpressionGroups(events, meta.label, features, pairs, history, tasks=tasks)
        return shown, events.columns["user_row"]
    positives = events.select(positives_of=meta.label).columns
    if not is_new(positives, state).any():
        return None
    pairs = pairs_as_of(run, features, names, SNAPSHOT[split], state)
    groups = sample_groups(positives, features, state, pairs, config)
    return groups, groups.user_row
