"""The ranker's tasks: which outcomes of a display it predicts, and what must have happened before each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.ranking.config import RankingConfig, TaskConfig

__all__ = ["Task", "is_mature", "label_matrix", "resolve_tasks", "task_problems"]

DAY_NS = 86_400_000_000_000


class Task(msgspec.Struct, frozen=True):
    """An outcome that the ranker predicts.

    Attributes:
        name: in the config.
        label: label column.
        parent: the place of the task that must have happened first, -1: none. It stands before this one.
        weight: of its loss.
        matures_after: days until its label is final.
    """

    name: str
    label: str
    parent: int = -1
    weight: float = 1.0
    matures_after: float = 0.0


def task_problems(config: RankingConfig, labels: Sequence[str]) -> Iterator[str]:
    """What is wrong with [ranking.tasks], a sentence each.

    Args:
        config: the section.
        labels: of the data, in order.
    """
    tasks = config.tasks
    if not tasks:
        return
    main = config.label or next(iter(labels), "")
    for name, task in tasks.items():
        key = f"ranking.tasks.{name}"
        if not name.isidentifier():
            yield f"{key}: expected a name of letters, digits and _, such as 'buy', got {name!r}"
        if task.label not in labels:
            yield f"{key}.label = {task.label!r} is not among data.labels = {list(labels)}"
        if task.after and task.after not in tasks:
            yield f"{key}.after = {task.after!r} is no other task; the tasks are {list(tasks)}"
        elif _is_circular(name, tasks):
            yield f"{key}.after = {task.after!r} comes after {name!r} itself; correct one of the two"
        if task.matures_after and not task.after:
            yield f"{key}.matures_after counts the days after another task, and {key}.after names none; add it"
    roots = [name for name, task in tasks.items() if not task.after and task.label == main]
    if len(roots) != 1:
        yield (
            f"ranking.tasks: expected one task whose label is {main!r}, the label that the ranker predicts, and that "
            f"comes after no other, got {roots or 'none'}"
        )
    if config.training_examples == "sampled":
        yield "ranking.tasks needs logged impressions; set ranking.training_examples = 'impressions' or 'auto'"


def resolve_tasks(config: RankingConfig, label: str) -> tuple[Task, ...]:
    """The tasks in order: that of the label first, each after its parent; none where the config has none.

    Args:
        config: without `task_problems`.
        label: that the ranker predicts.
    """
    left = dict(config.tasks)
    order = [name for name, task in left.items() if not task.after and task.label == label]
    while len(order) < len(left):
        order += [name for name, task in left.items() if name not in order and (not task.after or task.after in order)]
    place = {name: number for number, name in enumerate(order)} | {"": -1}
    return tuple(
        Task(name, task.label, place[task.after], task.weight, task.matures_after)
        for name, task in ((name, left[name]) for name in order)
    )


def label_matrix(tasks: Sequence[Task], columns: Mapping[str, NDArray], end: int) -> NDArray[np.float32]:
    """Labels of some events, NaN where they are not known yet.

    Args:
        tasks: T of them.
        columns: label columns by name, 0 or 1, and `at` in nanoseconds, [R] each.
        end: until when something was known, nanoseconds.

    Returns:
        float32 [R, T]. A task whose parent did not happen did not happen either, whatever its column says. Of displays
        that are too young nothing is known, also where the parent did not happen: those alone would be taken for many.
    """
    labels = np.empty((len(columns["at"]), len(tasks)), np.float32)
    for place, task in enumerate(tasks):
        happened = np.asarray(columns[task.label], np.float32) > 0.5
        if task.parent < 0:
            labels[:, place] = happened
            continue
        known = is_mature(task, columns["at"], end)
        labels[:, place] = np.where(known, happened * labels[:, task.parent], np.nan)
    return labels


def is_mature(task: Task, at: NDArray[np.int64], end: int) -> NDArray[np.bool_]:
    """Whether displays at some instants [R] are so old that the task's label is final; `end` as in `label_matrix`."""
    mature: NDArray[np.bool_] = at <= end - int(task.matures_after * DAY_NS)
    return mature


def _is_circular(name: str, tasks: Mapping[str, TaskConfig]) -> bool:
    seen, at = {name}, tasks[name].after
    while at in tasks:
        if at in seen:
            return at == name
        seen.add(at)
        at = tasks[at].after
    return False
