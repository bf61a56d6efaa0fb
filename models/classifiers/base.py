"""What every classifier sees and gives: labelled events as a table of ids and features, and probabilities."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.data import Batch, Features, load_events
from workflows.core.run import Run
from workflows.features.schema import Feature

__all__ = ["Classifier", "Table", "load_table"]


class Table(msgspec.Struct, frozen=True):
    """R labelled events.

    Attributes:
        features: the columns' names, sides, kinds and sizes: users, context and items, not the history.
        columns: feature name -> int32 codes or float32 values, [R, 1] or [R, L].
        labels: float32 [R], 1 or 0.
        user_row: int64 [R], whose event it is; -1 for an unknown user.
    """

    features: list[Feature]
    columns: Batch
    labels: NDArray[np.float32]
    user_row: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[np.int64]) -> Table:
        """Some of the events."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        return Table(self.features, columns, self.labels[rows], self.user_row[rows])


class Classifier(ABC):
    """Learns the probability of the label from ids and features."""

    name: str

    @abstractmethod
    def fit(self, train: Table, valid: Table) -> None:
        """Learn from `train`; `valid` may decide when to stop."""

    @abstractmethod
    def probabilities(self, table: Table) -> NDArray[np.float64]:
        """P(label = 1) of every event; float64 [R]."""


def load_table(run: Run, features: Features, split: Literal["train", "valid", "test"], label: str) -> Table:
    """The events of a split whose item is in the catalogue, in the order in which the ranker scores them.

    Args:
        run: its features stage has finished.
        features: of the run.
        split: which.
        label: label column.
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
    )
