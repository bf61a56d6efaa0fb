"""What every classifier sees and gives: labelled events as a table of ids and features, and probabilities."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.dataset.features import Batch, Features, load_events
from workflows.core.run import Run
from workflows.features.schema import HISTORY, Feature

__all__ = ["Classifier", "Table", "join", "load_table"]


class Table(msgspec.Struct, frozen=True):
    """R labelled events.

    Attributes:
        features: the columns' names, sides, kinds and sizes: users, context, items, and numbers that describe the
            history where they were put beside them.
        columns: feature name -> int32 codes or float32 values, [R, 1] or [R, L].
        labels: float32 [R], 1 or 0.
        user_row: int64 [R], whose event it is; -1 for an unknown user.
        history: int32 [R, L], codes of the user's latest items before the event, oldest first, padded right with 0.
        at: int64 [R], when it was.
    """

    features: list[Feature]
    columns: Batch
    labels: NDArray[np.float32]
    user_row: NDArray[np.int64]
    history: NDArray[np.int32]
    at: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> Table:
        """Some of the events."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        return Table(self.features, columns, self.labels[rows], self.user_row[rows], self.history[rows], self.at[rows])

    def beside(self, numbers: dict[str, NDArray[np.float32]]) -> Table:
        """The same events with further continuous columns, [R, 1] each."""
        more = [Feature(name, "history", "continuous", 0, 0, name) for name in numbers]
        return msgspec.structs.replace(self, features=[*self.features, *more], columns={**self.columns, **numbers})


class Classifier(ABC):
    """Learns the probability of the label from ids, features and what describes the history."""

    name: str

    @abstractmethod
    def fit(self, train: Table, valid: Table) -> None:
        """Learn from `train`; `valid` may decide when to stop."""

    @abstractmethod
    def refit(self, both: Table) -> None:
        """Learn anew from train and valid, for as long as `fit` found right."""

    @abstractmethod
    def probabilities(self, table: Table) -> NDArray[np.float64]:
        """P(label = 1) of every event; float64 [R]."""


def join(first: Table, second: Table) -> Table:
    """The events of one table and then those of another with the same columns."""
    columns = {name: np.concatenate([values, second.columns[name]]) for name, values in first.columns.items()}
    rest = {
        name: np.concatenate([getattr(first, name), getattr(second, name)])
        for name in ("labels", "user_row", "history", "at")
    }
    return Table(first.features, columns, **rest)


def load_table(
    run: Run,
    features: Features,
    split: Literal["train", "valid", "test"],
    label: str,
    history: NDArray[np.int32] | None = None,
) -> Table:
    """The events of a split whose item is in the catalogue, in the order in which the ranker scores them.

    Args:
        run: its features stage has finished.
        features: of the run.
        split: which.
        label: label column.
        history: int32 [U, L], codes that stand for the history of every event of a user; None: each has its own.
    """
    events = load_events(run, split).select(known_items_only=True).columns
    schema = features.schema
    columns = features.event_inputs(events) | features.item_inputs(events["item_row"])
    kept = [*schema.side("user"), *schema.side("context"), *schema.side("item")]
    return Table(
        kept,
        {feature.name: columns[feature.name] for feature in kept},
        events[label].astype(np.float32),
        events["user_row"].astype(np.int64),
        events[HISTORY] if history is None else history[events["user_row"]],
        events["at"].astype(np.int64),
    )
