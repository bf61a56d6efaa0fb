"""The events of data/ as live events, for a state that is to know them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from runtime.stream.events import IMPRESSION, INTERACTION, Events
from runtime.stream.windows import IMPRESSIONS
from workflows.core.run import Run
from workflows.stream.said import SAID_FILE, Said
from workflows.tables.info import DataInfo
from workflows.tables.split import SPLITS

__all__ = ["TableEvents"]

EVENTS_PER_BATCH = 4096
SMALLEST = np.iinfo(np.int64).min + 1


class TableEvents:
    """The events of a run in the order in which they became known.

    Those of items outside the catalogue, whose ids data/ does not keep, have one item that no catalogue has: windows of
    users count them, as they count what comes live.

    Args:
        run: whose data stage has finished.
        part: all of them, what was known before the test split, or what came from then on.
        of: rows of users and of items: only the events of one of either.

    Attributes:
        known_at: int64 [n], the instant from which on each is known, ascending, nanoseconds.
    """

    def __init__(
        self,
        run: Run,
        part: Literal["all", "before test", "test"] = "all",
        of: tuple[NDArray, NDArray] | None = None,
    ) -> None:
        data = run.folder("data")
        said = _said(run)
        kept = np.ones(len(said), bool)
        if part != "all":
            kept &= (said.known_at < _test_begins(run)) == (part == "before test")
        if of is not None:
            kept &= np.isin(said.user, of[0]) | np.isin(said.item, of[1])
        self._said, self._places = said, np.flatnonzero(kept)
        self.known_at: NDArray[np.int64] = said.known_at[self._places]
        self._ids = {side: np.load(data / "ids" / f"{side}s.npy", allow_pickle=False) for side in ("user", "item")}

    def __len__(self) -> int:
        return len(self.known_at)

    def batches(self, start: int = 0, stop: int | None = None) -> Iterator[Events]:
        """The events from `start` to before `stop`, some thousand at a time."""
        stop = len(self) if stop is None else stop
        for first in range(start, stop, EVENTS_PER_BATCH):
            yield self._events(self._places[first : min(first + EVENTS_PER_BATCH, stop)])

    def _events(self, places: NDArray[np.int64]) -> Events:
        label = self._said.label[places]
        is_shown = np.array([name == IMPRESSIONS for name in self._said.labels], bool)[label]
        ids = np.empty(len(places), object)
        # Two events of one item at one instant are two.
        ids[:] = [b"%d" % place for place in places.tolist()]
        return Events(
            kind=np.where(is_shown, IMPRESSION, INTERACTION).astype(np.uint8),
            user=self._raw("user", self._said.user[places]),
            item=self._raw("item", self._said.item[places]),
            at=self._said.at[places],
            label=label.astype(np.uint8),
            value=np.ones(len(places), np.float32),
            event_id=ids,
            extra=np.full(len(places), b"", object),
            labels=tuple("" if name == IMPRESSIONS else name for name in self._said.labels),
        )

    def _raw(self, side: str, rows: NDArray) -> NDArray:
        known = self._ids[side]
        ids = known[rows]
        raw: NDArray = np.asarray(ids.astype(object if ids.dtype.kind == "S" else np.int64))
        if (rows < 0).any():
            raw[rows < 0] = _outside(known)
        return raw


def _outside(ids: NDArray) -> int | bytes:
    """An id that is none of these."""
    if ids.dtype.kind == "S":
        known = set(ids.tolist())
        return next(name for n in itertools.count() if (name := b"outside the catalogue %d" % n) not in known)
    # Neither the smallest integer, which is null, nor -1, which is padding.
    free = np.setdiff1d(SMALLEST + np.arange(len(ids) + 1), ids)
    return int(free[0])


def _said(run: Run) -> Said:
    """What data/ keeps for stream features; without any, the same from its splits."""
    data = run.folder("data")
    if (data / SAID_FILE).is_file():
        return Said.read(data / SAID_FILE)
    labels = DataInfo.load(data).labels
    names = ["user_row", "item_row", "at", *labels]
    splits = [pq.read_table(data / split, columns=names) for split in SPLITS]
    table = pa.concat_tables(splits)
    order = np.argsort(table["at"].to_numpy(), kind="stable")
    columns = {name: table[name].to_numpy()[order] for name in names}
    in_train = (np.arange(len(table)) < len(splits[0]))[order]
    positive = {label: columns[label] > 0 for label in labels}
    return Said.of_rows(columns["user_row"], columns["item_row"], columns["at"], in_train, positive)


def _test_begins(run: Run) -> int:
    """The first instant of the test split; after all others where there is none."""
    at = pq.read_table(run.folder("data") / "test", columns=["at"])["at"].to_numpy()
    return int(at.min()) if len(at) else np.iinfo(np.int64).max
