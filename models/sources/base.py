"""What a source is to the fit: as of one snapshot it scores items, and writes what the server reads."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.dataset.features import Features, Snapshot, State, load_events, load_features, load_state, positive_label
from models.retrieval.retriever import Retriever
from workflows.core.artefacts import read_manifest
from workflows.core.run import Run
from workflows.tables.values import floats_of, is_number

__all__ = ["NOT_MEANT", "AsOf", "Fitted", "SourceFit", "descending", "known_at", "numbers_of"]

SPLITS: dict[Snapshot, tuple[Literal["train", "valid", "test"], ...]] = {
    "train": ("train",),
    "eval": ("train", "valid"),
    "serve": ("train", "valid", "test"),
}
# The score of an item that a source never gives.
NOT_MEANT = -np.inf


class AsOf(msgspec.Struct, frozen=True):
    """What is known as of one snapshot.

    Attributes:
        run: for files that a source reads itself.
        snapshot: "train" after the train split, "eval" before the test split, "serve" after every event.
        state: histories, seen items and how often each item was a positive.
        features: encoded users and items.
        item_rows: int32 [R], of the positive events of items of the catalogue.
        times: int64 [R], of those events, nanoseconds since 1970; empty where the data has no order.
        embeddings: float32 [N, D], of the item tower of the snapshot.
    """

    run: Run
    snapshot: Snapshot
    state: State
    features: Features
    item_rows: NDArray[np.int32]
    times: NDArray[np.int64]
    embeddings: NDArray[np.float32]

    @property
    def num_items(self) -> int:
        """N."""
        return self.features.num_items

    @property
    def now(self) -> int:
        """The instant of the last event, nanoseconds."""
        return int(self.times.max()) if len(self.times) else 0

    def item_column(self, name: str) -> NDArray[np.float64] | str:
        """A column of the items table by item_row, NaN for nulls, dates in nanoseconds; or why it has no numbers."""
        return numbers_of(self.run.folder("data") / "items.parquet", name)


class Fitted(Protocol):
    """A source as of one snapshot.

    Attributes:
        files: what the server reads, by the file's name in the chain.
    """

    files: dict[str, NDArray]

    def scores(self, embedded: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of every item, [B, N] or the same for everybody [1, N], for queries [B, D]; NOT_MEANT where it gives none."""
        ...


class SourceFit(Protocol):
    """How a source is fitted.

    Attributes:
        name: of the source, the step's too.
        step: where the server finds it, "module:class", a `runtime.sources.base.Source`.
    """

    @property
    def name(self) -> str:
        """Of the source."""

    @property
    def step(self) -> str:
        """Where the server finds it."""

    def candidates(self, as_of: AsOf) -> list[Fitted] | str:
        """The source under every setting to choose from, or why it cannot be fitted on this data."""
        ...


def numbers_of(items: Path, name: str) -> NDArray[np.float64] | str:
    """A column of data/items.parquet as `AsOf.item_column` gives it."""
    if name not in pq.read_schema(items).names:
        return "has no such column"
    values = pq.read_table(items, columns=[name])[name]
    if pa.types.is_date(values.type) or pa.types.is_timestamp(values.type):
        # Nanoseconds of years beyond 2262, such as of 9999-12-31, are no int64.
        return floats_of(values.cast(pa.timestamp("us"), safe=False).cast(pa.int64())) * 1e3
    if not is_number(values.type):
        return f"holds {values.type} there"
    return floats_of(values)


def known_at(run: Run, snapshot: Snapshot) -> AsOf:
    """Read what is known as of a snapshot.

    Raises:
        ArtefactError: an earlier stage has not finished.
    """
    features = load_features(run)
    events = load_events(run, *SPLITS[snapshot]).select(
        positives_of=positive_label(features.schema, ""), known_items_only=True
    )
    ordered = bool(read_manifest(run.folder("data")).info.get("has_timestamp"))
    parts = [(c["item_row"], c["at"] if ordered else np.zeros(0, np.int64)) for c in events.chunks()]
    rows, times = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    embeddings = Retriever.of(run, "train" if snapshot == "train" else "eval").item_embeddings
    return AsOf(run, snapshot, load_state(run, snapshot), features, rows, times, embeddings)


def descending(scores: NDArray[np.float32]) -> NDArray[np.int32]:
    """Item rows by score, ties by row; without those that a source never gives."""
    order = np.lexsort((np.arange(len(scores)), -scores))
    rows: NDArray[np.int32] = order[np.isfinite(scores[order])].astype(np.int32)
    return rows
