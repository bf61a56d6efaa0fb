"""What the state of live events counts, in the order in which it became known: of tables of events, or of a log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from runtime.stream.windows import IMPRESSIONS
from workflows.core.errors import DataError
from workflows.stream.features import ONLY_LABEL

if TYPE_CHECKING:
    import duckdb

__all__ = ["SAID_FILE", "Said"]

# In data/, where there are stream features.
SAID_FILE = "stream.parquet"
LABELS = b"labels"
# Units of timestamps that are instants; the others are places in an order.
CLOCKS = ("s", "ms", "us", "ns", "datetime", "date")


@dataclass(frozen=True)
class Said:
    """Events, each with one label.

    Of tables, a row is an impression, where they have labels, and an event of each label that is positive in it, all
    known at the row's timestamp. Of a log, an event is known from its arrival on.

    Attributes:
        user, item: int32 [n], rows; -1 an item outside the catalogue.
        at: int64 [n], the instant of the event, nanoseconds.
        known_at: int64 [n], the instant from which on it is known, ascending.
        label: int8 [n], a place in `labels`.
        in_train: bool [n], whether it was known when the train split ended.
        labels: names, `runtime.stream.windows.IMPRESSIONS` among them.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    at: NDArray[np.int64]
    known_at: NDArray[np.int64]
    label: NDArray[np.int8]
    in_train: NDArray[np.bool_]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.at)

    @classmethod
    def of_tables(cls, con: duckdb.DuckDBPyConnection, labels: Sequence[str], unit: str) -> Said:
        """The events of tables while they are read.

        Args:
            con: holds the table `events`: user_row, item_row, instant (ns), n, split, label_k.
            labels: data.labels.
            unit: of the timestamps, as `workflows.tables.instants.instant_sql` found it.

        Raises:
            DataError: the timestamps are no instants.
        """
        if unit not in CLOCKS:
            raise DataError(
                f"features.stream needs timestamps that are instants, got {unit}: windows are lengths of time; give "
                "data.timestamp a column of datetimes or epoch seconds, or drop features.stream"
            )
        flags = "".join(f", label_{place} > 0 AS label_{place}" for place in range(len(labels)))
        ordered = f"SELECT user_row, item_row, instant, split{flags} FROM events ORDER BY instant, n"
        found = con.execute(ordered).fetchnumpy()
        positive = {label: np.asarray(found[f"label_{place}"], bool) for place, label in enumerate(labels)}
        in_train = np.asarray(found["split"]) == 0
        return cls.of_rows(found["user_row"], found["item_row"], found["instant"], in_train, positive)

    @classmethod
    def of_rows(
        cls, user: NDArray, item: NDArray, at: NDArray, in_train: NDArray, positive: Mapping[str, NDArray]
    ) -> Said:
        """The events of rows in order of time.

        Args:
            user: rows [r].
            item: rows [r]; -1 outside the catalogue.
            at: int64 [r], nanoseconds.
            in_train: bool [r].
            positive: label -> bool [r]; empty where the tables have no labels.
        """
        labels = (IMPRESSIONS, *positive) if positive else (ONLY_LABEL,)
        happened = np.stack([np.ones(len(at), bool), *positive.values()], axis=1)
        row, label = np.nonzero(happened)
        at = np.asarray(at, np.int64)[row]
        users, items = np.asarray(user, np.int32)[row], np.asarray(item, np.int32)[row]
        return cls(users, items, at, at, label.astype(np.int8), np.asarray(in_train, bool)[row], labels)

    @classmethod
    def of_log(cls, con: duckdb.DuckDBPyConnection, path: Path) -> Said:
        """The events of a log while its table is read.

        Args:
            con: holds the tables `events`, `user_ids` and `item_ids`.
            path: see `workflows.stream.counted.CountedEvents`.
        """
        file = f"read_parquet('{str(path).replace(chr(39), 2 * chr(39))}')"
        labels = tuple(name for (name,) in con.execute(f"SELECT DISTINCT said FROM {file} ORDER BY said").fetchall())
        found = con.execute(
            "SELECT u.row AS user_row, coalesce(i.row, -1) AS item_row, s.at, s.received_at, s.said "
            f"FROM {file} s JOIN user_ids u ON s.user_id = u.id LEFT JOIN item_ids i ON s.item_id = i.id "
            "ORDER BY s.place"
        ).fetchnumpy()
        until = int(con.execute("SELECT max(instant) FROM events WHERE split = 0").fetchall()[0][0])
        # A clock that was set back does not make known what came before it unknown.
        known_at = np.maximum.accumulate(np.asarray(found["received_at"], np.int64))
        return cls(
            np.asarray(found["user_row"], np.int32),
            np.asarray(found["item_row"], np.int32),
            np.asarray(found["at"], np.int64),
            known_at,
            np.searchsorted(np.array(labels, object), np.asarray(found["said"], object)).astype(np.int8),
            known_at <= until,
            labels,
        )

    def write(self, path: Path) -> None:
        """Write a Parquet file."""
        names = ("user", "item", "at", "known_at", "label", "in_train")
        table = pa.table({name: getattr(self, name) for name in names})
        pq.write_table(table.replace_schema_metadata({LABELS: "\0".join(self.labels).encode()}), path)

    @classmethod
    def read(cls, path: Path) -> Said:
        """Read what `write` wrote."""
        table = pq.read_table(path)
        labels = tuple(table.schema.metadata[LABELS].decode().split("\0"))
        return cls(**{name: table[name].to_numpy() for name in table.column_names}, labels=labels)
