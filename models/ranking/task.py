"""The ranker's label and training examples: everything that is settled before TensorFlow starts."""

from __future__ import annotations

from typing import Literal

import msgspec

from models.dataset.features import Features, Shard, load_events, load_features, positive_label
from models.ranking.config import RankingConfig
from models.ranking.groups import GroupSource
from models.ranking.live import live_pairs, share_specs
from models.ranking.pairing import choose_pairs
from models.ranking.rules import check_tasks, count_labels, wants_user_id, why_sampled
from models.ranking.settled import RankerTraining, settled
from models.ranking.sources import training_sources
from models.ranking.tasks import Task, resolve_tasks
from runtime.ranker.spec import ShareSpec
from workflows.core import console
from workflows.core.run import Run
from workflows.tables.info import DataInfo

__all__ = ["RankingTask", "load_task"]


class RankingTask(msgspec.Struct, frozen=True):
    """A training.

    Attributes:
        config: with what the log decided where it says "auto".
        features: of the run.
        label: to predict; "" where every event is a positive one.
        tasks: several outcomes instead of it; none: the label alone.
        pair_inputs: the pair features, in order.
        shares: those that compare a candidate with the user's latest items.
        training_examples: logged impressions, or positives beside drawn negatives.
        train: to learn from.
        valid: to stop by and to calibrate on; None where nothing is left to hold out.
        both: both together, to refit on; None as above.
    """

    config: RankerTraining
    features: Features
    label: str
    tasks: tuple[Task, ...]
    pair_inputs: list[str]
    shares: tuple[ShareSpec, ...]
    training_examples: Literal["impressions", "sampled"]
    train: GroupSource
    valid: GroupSource | None
    both: GroupSource | None

    @property
    def calibrated_on(self) -> Literal["valid", "train"]:
        """The rows whose labels the probabilities are compared with."""
        return "train" if self.valid is None else "valid"


def load_task(run: Run, config: RankingConfig, num_processes: int = 1) -> RankingTask:
    """Read the log, resolve every "auto", and print the choices.

    Args:
        run: its stages before the ranker's have finished.
        config: as given.
        num_processes: that train together, each on its share of the rows.

    Raises:
        ConfigError: the label is not one of the data's, impressions are asked for without one, or the tasks do not fit
            the log.
    """
    features = load_features(run)
    label = positive_label(features.schema, config.label)
    counts = count_labels(load_events(run, "train"), label, features.num_users)
    of_kinds = DataInfo.load(run.folder("data")).of_kinds
    reason = why_sampled(counts, label, config, of_kinds=of_kinds)
    sampled = bool(reason)
    if config.tasks:
        check_tasks(load_events(run, "train"), resolve_tasks(config, label), why_sampled=reason)
    config = msgspec.structs.replace(config, use_user_id=wants_user_id(counts, config, sampled=sampled))
    names = [*choose_pairs(config, sampled=sampled), *live_pairs(run)]
    _say(config, label, names, sampled=sampled)
    if counts.has_both and reason and config.training_examples == "auto":
        console.say(f"train-ranking: {reason}; if it was one, set ranking.training_examples = 'impressions'")
    train, valid, both = training_sources(run, config, features, label, names, sampled)
    num_rows = train.share(Shard(size=num_processes)).num_rows
    training = settled(config, num_rows)
    console.say(f"ranking: {num_rows:,} rows an epoch, {training.batch_size:,} a step")
    if valid is None:
        console.say(
            f"ranking: nothing is left to hold out and stop by: {config.max_epochs} epochs are run, and the last is "
            "kept; calibration is measured on the training examples"
        )
    return RankingTask(
        training,
        features,
        label,
        resolve_tasks(config, label),
        names,
        share_specs(run, features),
        "sampled" if sampled else "impressions",
        train,
        valid,
        both,
    )


def _say(config: RankingConfig, label: str, names: list[str], *, sampled: bool) -> None:
    positives = f"events with {label} = 1" if label else "events"
    learnt = f"tasks {', '.join(config.tasks)}" if config.tasks else f"label {label}"
    trained_on = (
        f"{positives}, each beside {config.negatives_per_positive} drawn negatives"
        if sampled
        else f"logged events, {learnt}"
    )
    console.say(
        f"train-ranking: on {trained_on}; pair features {', '.join(names) or 'none'}, "
        f"{'with' if config.use_user_id else 'without'} a user id"
    )
