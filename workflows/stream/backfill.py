"""The events of the tables as live events, for a state that is to know them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from runtime.stream.events import IMPRESSION, INTERACTION, Events
from workflows.core.run import Run
from workflows.stream.features import ONLY_LABEL
from workflows.tables.info import DataInfo

__all__ = ["TableEvents"]

ROWS_PER_BATCH = 4096


class TableEvents:
    """The rows of some splits of data/ in order of time, each as the events that it stands for.

    A row is an impression, where the tables have labels, and an event of each label that is positive in it; the events
    of a row share its instant.

    Args:
        run: whose data stage has finished.
        splits: whose rows.
    """

    def __init__(self, run: Run, splits: Sequence[str]) -> None:
        data = run.folder("data")
        self._labels = DataInfo.load(data).labels
        names = ["user_row", "item_row", "at", *self._labels]
        table = pa.concat_tables([pq.read_table(data / split, columns=names) for split in splits])
        order = np.argsort(table["at"].to_numpy(), kind="stable")
        columns = {name: table[name].to_numpy()[order] for name in names}
        self.at: NDArray[np.int64] = columns["at"]
        self._rows = {"user": columns["user_row"], "item": columns["item_row"]}
        self._ids = {side: np.load(data / "ids" / f"{side}s.npy", allow_pickle=False) for side in ("user", "item")}
        self._flags = [columns[label] > 0 for label in self._labels]

    def __len__(self) -> int:
        return len(self.at)

    def batches(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[Events, int]]:
        """The events of the rows from `start` to before `stop`, some thousand rows at a time, and how many rows."""
        stop = len(self) if stop is None else stop
        for first in range(start, stop, ROWS_PER_BATCH):
            rows = np.arange(first, min(first + ROWS_PER_BATCH, stop))
            yield self.events(rows), len(rows)

    def events(self, rows: NDArray[np.int64]) -> Events:
        """The events of some rows, in their order; those of items outside the catalogue are left out."""
        rows = rows[self._rows["item"][rows] >= 0]
        # Of each row the impression first, then its labels.
        flags = [np.ones(len(rows), bool), *(flag[rows] for flag in self._flags)]
        happened = np.stack(flags, axis=1)
        place, label = np.nonzero(happened)
        rows = rows[place]
        if not self._labels:
            label = np.ones(len(rows), np.int64)
        return Events(
            kind=np.where(label == 0, IMPRESSION, INTERACTION).astype(np.uint8),
            user=self._raw("user", rows),
            item=self._raw("item", rows),
            at=self.at[rows],
            label=label.astype(np.uint8),
            value=np.ones(len(rows), np.float32),
            # Two rows of one item at one instant are two events.
            event_id=_objects([b"%d %d" % of for of in zip(rows.tolist(), label.tolist(), strict=True)]),
            extra=np.full(len(rows), b"", object),
            labels=("", *(self._labels or (ONLY_LABEL,))),
        )

    def _raw(self, side: str, rows: NDArray[np.int64]) -> NDArray:
        ids = self._ids[side][self._rows[side][rows]]
        return np.asarray(ids.astype(object if ids.dtype.kind == "S" else np.int64))


def _objects(values: list[bytes]) -> NDArray[np.object_]:
    made = np.empty(len(values), object)
    made[:] = values
    return made
