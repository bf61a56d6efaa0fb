"""Every event of a log that windows can count, as a Parquet file for the time of one prepare."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from runtime.stream.events import IMPRESSION, INTERACTION
from runtime.stream.log.reader import Batch
from runtime.stream.windows import IMPRESSIONS
from workflows.stream.arrow import schema_of, to_rows

__all__ = ["CountedEvents"]


class CountedEvents:
    """The file: user_id, item_id, at, received_at (nanoseconds), said (the label), place (its order).

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._num = path, 0
        self._file: pq.ParquetWriter | None = None

    def write(self, batch: Batch, known: NDArray[np.bool_]) -> None:
        """Add the events of a batch that count.

        Args:
            batch: events in order.
            known: bool [n], those that are new and whose users are not forgotten.
        """
        events = batch.events
        shown = events.kind == IMPRESSION
        kept = known & (shown | ((events.kind == INTERACTION) & (events.value > 0)))
        taken = events.take(kept)
        rows = to_rows(
            Batch(taken, batch.offsets[kept], batch.received_at[kept], batch.next_offset),
            schema_of(taken.user, taken.item),
        )
        said = [
            IMPRESSIONS if is_shown else taken.labels[label]
            for is_shown, label in zip(shown[kept].tolist(), taken.label.tolist(), strict=True)
        ]
        table = pa.table(
            {
                "user_id": rows["user_id"],
                "item_id": rows["item_id"],
                "at": taken.at,
                "received_at": batch.received_at[kept],
                "said": pa.array(said, pa.string()),
                "place": np.arange(self._num, self._num + len(said)),
            }
        )
        self._num += len(said)
        self._file = self._file or pq.ParquetWriter(self._path, table.schema)
        self._file.write_table(table)

    def close(self) -> None:
        """End the file."""
        if self._file is not None:
            self._file.close()
