"""What models read: encoded features by row, encoded events by split, and what is known of each user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.dataset.events import Batch, Events, load_events, positive_label, read_parts
from models.dataset.shard import Shard
from workflows.core.errors import ArtefactError
from workflows.core.run import Run
from workflows.features.schema import HISTORY, ITEM_ID, NULL, OOV, PADDING, USER_ID, Feature, FeatureSchema

__all__ = [
    "Batch",
    "Events",
    "Features",
    "Shard",
    "Snapshot",
    "State",
    "load_events",
    "load_features",
    "load_state",
    "positive_label",
]

# What is known after the train split, before the test split, and after every event.
Snapshot = Literal["train", "eval", "serve"]


class Features(msgspec.Struct, frozen=True):
    """The encoded user and item features of a run, by row.

    Attributes:
        schema: names, sides, sizes and domains of all features.
        users: feature name -> [U] or, for a list, [U, L]; int32 codes or float32 values, by user_row.
        items: the same for items, by item_row.
    """

    schema: FeatureSchema
    users: dict[str, NDArray]
    items: dict[str, NDArray]

    @property
    def num_users(self) -> int:
        """U, the known users."""
        return len(self.users[USER_ID])

    @property
    def num_items(self) -> int:
        """N, the size of the catalogue."""
        return len(self.items[ITEM_ID])

    def user_inputs(self, user_row: NDArray) -> Batch:
        """The user features of some users.

        Args:
            user_row: int [B]; -1 is an unknown user: out of vocabulary as `user_id`, null elsewhere, nothing in lists.

        Returns:
            Feature name -> [B, 1], or [B, L] for a list.
        """
        unknown = user_row < 0
        gathered = {}
        for feature in self.schema.side("user"):
            values = self.users[feature.name][user_row]
            if unknown.any():
                values[unknown] = _unknown_row(feature)
            gathered[feature.name] = _as_matrix(values)
        return gathered

    def query_inputs(self, user_row: NDArray, context: Mapping[str, NDArray], history: NDArray) -> Batch:
        """Everything that the query tower or the ranker's query side sees.

        Args:
            user_row: int [B]; -1 is an unknown user.
            context: context feature name -> [B] or [B, L]; further names (whole event batches) are ignored.
            history: int [B, L] item id codes, oldest first, padded right with 0.

        Returns:
            Feature name -> [B, 1], or [B, L] for a list; int32 codes and float32 values.

        Raises:
            KeyError: a context feature of the schema is missing.
        """
        inputs = self.user_inputs(user_row)
        for feature in self.schema.side("context"):
            inputs[feature.name] = _as_matrix(np.asarray(context[feature.name], _dtype(feature)))
        inputs[HISTORY] = np.asarray(history, np.int32)
        return inputs

    def event_inputs(self, events: Batch) -> Batch:
        """The query inputs of a batch of encoded events."""
        return self.query_inputs(events["user_row"], events, events[HISTORY])

    def item_inputs(self, item_row: NDArray) -> Batch:
        """The item features of some items.

        Args:
            item_row: int [B], every row >= 0.

        Returns:
            Feature name -> [B, 1], or [B, L] for a list.
        """
        return {f.name: _as_matrix(self.items[f.name][item_row]) for f in self.schema.side("item")}

    def history_codes(self, history_rows: NDArray) -> NDArray[np.int32]:
        """Item id codes of item rows, int [..., L]; -1 (no item) becomes the padding code 0."""
        codes: NDArray[np.int32] = self.items[ITEM_ID][history_rows].astype(np.int32)
        codes[history_rows < 0] = PADDING
        return codes

    def null_context(self, num_rows: int) -> Batch:
        """Context inputs of a request that carries none: null codes and 0.0, [B, 1] or [B, L]."""
        rows = {}
        for feature in self.schema.side("context"):
            rows[feature.name] = np.broadcast_to(_unknown_row(feature), (num_rows, max(feature.length, 1))).copy()
        return rows


class State(msgspec.Struct, frozen=True):
    """What is known of each user as of one snapshot, and how popular each item is then.

    Attributes:
        history: int32 [U, L] item rows, oldest first, padded right with -1.
        seen_indptr: int64 [U + 1]; the seen items of user u are seen_rows[seen_indptr[u] : seen_indptr[u + 1]].
        seen_rows: int32, item rows of positive events, ascending within a user.
        popularity: float32 [N], positive events of each item.
    """

    history: NDArray[np.int32]
    seen_indptr: NDArray[np.int64]
    seen_rows: NDArray[np.int32]
    popularity: NDArray[np.float32]

    def seen(self, user_row: int) -> NDArray[np.int32]:
        """Item rows that the user has interacted with, ascending; nothing for -1."""
        if user_row < 0:
            return self.seen_rows[:0]
        return self.seen_rows[self.seen_indptr[user_row] : self.seen_indptr[user_row + 1]]

    def seen_pairs(self, user_row: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Positions in `user_row` and item rows of every seen pair, to mask a [B, N] score matrix."""
        seen = [self.seen(int(user)) for user in user_row]
        positions = np.repeat(np.arange(len(seen)), [len(rows) for rows in seen])
        return positions, np.concatenate(seen) if seen else self.seen_rows[:0]


def load_features(run: Run) -> Features:
    """Read the encoded user and item features.

    Raises:
        ArtefactError: the features stage has not finished, or a table lacks a feature of the schema.
    """
    folder = run.require("features", check=False)
    schema = FeatureSchema.load(folder / "schema.json")
    return Features(
        schema=schema,
        users=_read_side(folder / "users", schema.side("user")),
        items=_read_side(folder / "items", schema.side("item")),
    )


def load_state(run: Run, snapshot: Snapshot) -> State:
    """Read what is known of each user after training ("train"), before the test split ("eval"), or now ("serve").

    Raises:
        ArtefactError: the data stage has not finished or a file of the state is missing.
    """
    folder = run.require("data", check=False) / "state" / snapshot
    try:
        names = State.__struct_fields__
        return State(**{name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names})
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{folder} cannot be read ({error}); run cascade prepare again with --force") from None


def _read_side(folder: Path, features: Iterable[Feature]) -> dict[str, NDArray]:
    features = list(features)
    columns = read_parts(sorted(folder.glob("*.parquet")), [feature.name for feature in features])
    return {f.name: np.ascontiguousarray(columns[f.name], _dtype(f)) for f in features}


def _dtype(feature: Feature) -> type[np.int32] | type[np.float32]:
    return np.int32 if feature.kind == "categorical" else np.float32


def _unknown_row(feature: Feature) -> NDArray:
    """What an unknown user has for a feature: [] or [L]."""
    row = np.zeros(feature.length or (), _dtype(feature))
    # A list without values is all padding, as its encoder has it.
    if feature.kind == "categorical" and feature.length == 0:
        row[...] = OOV if feature.name == USER_ID else NULL
    return row


def _as_matrix(values: NDArray) -> NDArray:
    return values[:, None] if values.ndim == 1 else values
