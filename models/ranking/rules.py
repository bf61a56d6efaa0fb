"""Resolve "auto" in [ranking] by the log: which examples to train on, and whether users get an embedding."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.dataset.features import Events
from models.ranking.config import RankingConfig
from models.ranking.tasks import Task, is_mature
from workflows.core.errors import ConfigError

__all__ = [
    "MIN_SHARE_BETWEEN_USERS",
    "LabelCounts",
    "check_tasks",
    "count_labels",
    "wants_user_id",
    "why_sampled",
]

MIN_SHARE_BETWEEN_USERS = 0.05
SCAN_ROWS = 100_000


class LabelCounts(msgspec.Struct, frozen=True):
    """How often each user's events have the label.

    Attributes:
        rows: int64 [U], events of each user.
        positives: int64 [U], those of them whose label is 1.
    """

    rows: NDArray[np.int64]
    positives: NDArray[np.int64]

    @property
    def has_both(self) -> bool:
        """Whether the label is 0 somewhere and 1 somewhere."""
        return bool(0 < self.positives.sum() < self.rows.sum())

    @property
    def share_between_users(self) -> float:
        """Share of the label's variance that lies between users rather than within: the intraclass correlation.

        It estimates that of the users behind the log: how many events each has does not move it, and chance alone gives
        0 on average. 0 also where no user has two events.

        Reference: the analysis of variance estimator of Ridout, Demétrio and Firth, "Estimating intraclass correlation
        for binary data", Biometrics 55(1), 1999.
        """
        rows, positives = (values[self.rows > 0].astype(np.float64) for values in (self.rows, self.positives))
        num_users, num_rows = len(rows), rows.sum()
        if num_users < 2 or num_rows == num_users:
            return 0.0
        shares = positives / rows
        between = (rows * (shares - positives.sum() / num_rows) ** 2).sum() / (num_users - 1)
        within = (positives * (1.0 - shares)).sum() / (num_rows - num_users)
        typical_rows = (num_rows - (rows**2).sum() / num_rows) / (num_users - 1)
        spread = between + (typical_rows - 1.0) * within
        return float((between - within) / spread) if spread > 0 else 0.0


def count_labels(events: Events, label: str, num_users: int) -> LabelCounts:
    """Go once over the events of a split.

    Args:
        events: all of the split.
        label: label column; empty: there is none, and nothing is counted.
        num_users: U.
    """
    rows, positives = np.zeros(num_users, np.int64), np.zeros(num_users, np.int64)
    for batch in events.batches(SCAN_ROWS) if label else ():
        rows += np.bincount(batch["user_row"], minlength=num_users)
        positives += np.bincount(batch["user_row"][batch[label] > 0.5], minlength=num_users)
    return LabelCounts(rows, positives)


def why_sampled(counts: LabelCounts, label: str, config: RankingConfig, *, of_kinds: bool) -> str:
    """Why the training examples are sampled ones; "" where they are the log's impressions.

    Args:
        counts: of the train split.
        label: its name.
        config: "auto" takes the impressions where the label has both values and events are displays.
        of_kinds: whether events are of several kinds, as `DataInfo` says.

    Raises:
        ConfigError: impressions are asked for, and the label does not have both values.
    """
    if config.training_examples == "impressions" and not counts.has_both:
        raise ConfigError(
            f"ranking.training_examples = 'impressions' needs a label with both values in the train split, got "
            f"{label or 'no label'!r}; use 'sampled' or 'auto'"
        )
    if config.training_examples == "sampled":
        return "ranking.training_examples = 'sampled'"
    if not counts.has_both:
        return f"the label {label!r} has one value only in the train split" if label else "there is no label"
    if of_kinds and config.training_examples == "auto":
        return "the events are of several kinds, and one of another kind is no item that was shown in vain"
    return ""


def check_tasks(events: Events, tasks: Sequence[Task], *, why_sampled: str) -> None:
    """Refuse tasks that the train split cannot teach.

    Args:
        events: of the train split.
        tasks: in order.
        why_sampled: of the training examples.

    Raises:
        ConfigError: there are no displays without a click, a task never happens, or its parent mostly did not.
    """
    if why_sampled:
        raise ConfigError(
            f"ranking.tasks needs logged impressions: {why_sampled}; drop the tasks, or give rows that are displays "
            "with all that followed"
        )
    happened, alone = np.zeros(len(tasks), np.int64), np.zeros(len(tasks), np.int64)
    end = events.latest
    for batch in events.batches(SCAN_ROWS):
        for place, task in enumerate(tasks):
            positive = (batch[task.label] > 0.5) & is_mature(task, batch["at"], end)
            happened[place] += positive.sum()
            if task.parent >= 0:
                alone[place] += (positive & (batch[tasks[task.parent].label] <= 0.5)).sum()
    for task, total, without in zip(tasks, happened.tolist(), alone.tolist(), strict=True):
        if not total:
            old = f" among those that are {task.matures_after:g} days old" if task.matures_after else ""
            raise ConfigError(
                f"ranking.tasks.{task.name}: no event of the train split{old} has {task.label} = 1; drop the task"
            )
        if 2 * without > total:
            parent = tasks[task.parent].label
            raise ConfigError(
                f"ranking.tasks.{task.name}: {without} of {total} events with {task.label} = 1 have {parent} = 0; one "
                f"row of the events must hold a display with all that followed; join {task.label} to the display's row"
            )


def wants_user_id(counts: LabelCounts, config: RankingConfig, *, sampled: bool) -> bool:
    """Whether the ranker has an embedding per user.

    A history lists what a user liked; how mild or strict the user is, stands in the labels of all its impressions, and
    only an embedding learns it. Where users hardly differ in that, it learns the examples by heart instead.

    Args:
        counts: of the train split.
        config: "auto" is as above for impressions, and no for sampled ones, whose share of positives is the config's.
        sampled: the training examples are sampled ones.
    """
    if config.use_user_id != "auto":
        return config.use_user_id
    return not sampled and counts.share_between_users >= MIN_SHARE_BETWEEN_USERS
