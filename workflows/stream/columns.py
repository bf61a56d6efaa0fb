"""Stream features of the rows of the tables: what was known just before each row's timestamp."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runtime.stream.features import RATE, SINCE, rate, since, unless_expired
from runtime.stream.windows import ANY, IMPRESSIONS, Window, hop_ns
from workflows.core.errors import DataError
from workflows.core.run import Run
from workflows.stream.counting import KnownEvents
from workflows.stream.features import LiveColumn
from workflows.tables.info import DataInfo

if TYPE_CHECKING:
    import duckdb

__all__ = ["TableStream"]

SECOND = 1_000_000_000
# Units of timestamps that are instants; the others are places in an order.
SPLITS = ("train", "valid", "test")
CLOCKS = ("s", "ms", "us", "ns", "datetime", "date")


class TableStream:
    """The events table as the live events that it stands for, in order of their timestamps.

    A row is an impression, where the tables have labels, and an event of each label that is positive in it.

    Args:
        rows: "user" and "item" -> rows [n], in order of time.
        at: int64 [n], nanoseconds, ascending.
        in_train: bool [n].
        flags: label -> bool [n], where it is positive; empty where the tables have no labels.
    """

    def __init__(
        self, rows: Mapping[str, NDArray], at: NDArray[np.int64], in_train: NDArray, flags: Mapping[str, NDArray]
    ) -> None:
        self._rows, self._at, self._in_train, self._flags = rows, at, in_train, flags
        self._known: dict[tuple[str, str], list[KnownEvents]] = {}

    @classmethod
    def of_tables(cls, con: duckdb.DuckDBPyConnection, labels: Sequence[str], unit: str) -> TableStream:
        """The events of the tables while they are read.

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
        return cls(
            {"user": np.asarray(found["user_row"]), "item": np.asarray(found["item_row"])},
            np.asarray(found["instant"], np.int64),
            np.asarray(found["split"]) == 0,
            {label: np.asarray(found[f"label_{place}"], bool) for place, label in enumerate(labels)},
        )

    @classmethod
    def of_run(cls, run: Run) -> TableStream:
        """The same events from the splits of data/."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        labels = DataInfo.load(run.folder("data")).labels
        splits = [
            pq.read_table(run.folder("data") / s, columns=["user_row", "item_row", "at", *labels]) for s in SPLITS
        ]
        table = pa.concat_tables(splits)
        in_train = np.repeat([True, False], [len(splits[0]), len(table) - len(splits[0])])
        # Rows of one instant may come in any order: they do not know each other.
        order = np.argsort(table["at"].to_numpy(), kind="stable")
        columns = {name: table[name].to_numpy()[order] for name in table.column_names}
        return cls(
            {"user": columns["user_row"], "item": columns["item_row"]},
            columns["at"],
            in_train[order],
            {label: columns[label] > 0 for label in labels},
        )

    def of(self, columns: Sequence[LiveColumn], rows: NDArray, at: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """The columns of users or items at some instants, by name.

        Args:
            columns: all of one key.
            rows: user or item rows [n].
            at: int64 [n], nanoseconds; what came at that very instant is not known yet.

        Returns:
            float64 [n] each, NaN where the latest event is asked for and there is none.
        """
        position = np.searchsorted(self._at, at)
        return {column.name: self._column(column, rows, position, at) for column in columns}

    def count(self, key: str, window: Window, rows: NDArray, at: NDArray[np.int64]) -> NDArray[np.int64]:
        """The count of one window; see `of`."""
        return self._count(key, window, rows, np.searchsorted(self._at, at), at)

    def with_base(self, column: LiveColumn) -> LiveColumn:
        """A rate's column with the rate of all train events; any other as it is."""
        feature = column.feature
        if feature.kind != RATE:
            return column
        first, second = (self._total(label) for label in column.labels)
        return LiveColumn(column.key, replace(feature, base=first / second if second else 0.0))

    def _total(self, label: str) -> int:
        return sum(int(np.count_nonzero(self._in_train[places])) for places in self._places(label))

    def _column(self, column: LiveColumn, rows: NDArray, position: NDArray, at: NDArray) -> NDArray[np.float64]:
        feature = column.feature
        found = self._value(column, rows, position, at)
        return (
            unless_expired(found, feature, self._latest(column.key, ANY, rows, position), at)
            if feature.ttl_s
            else found
        )

    def _latest(self, key: str, label: str, rows: NDArray, position: NDArray) -> NDArray[np.int64]:
        return np.asarray(np.max([known.latest(rows, position) for known in self._events(key, label)], axis=0))

    def _value(self, column: LiveColumn, rows: NDArray, position: NDArray, at: NDArray) -> NDArray[np.float64]:
        feature = column.feature
        if feature.kind == SINCE:
            return since(self._latest(column.key, feature.label, rows, position), at)
        counted = [self._count(column.key, window, rows, position, at) for window in feature.windows]
        if feature.kind == RATE:
            return rate(counted[0], counted[1], feature.prior, feature.base)
        return counted[0].astype(np.float64)

    def _count(self, key: str, window: Window, rows: NDArray, position: NDArray, at: NDArray) -> NDArray[np.int64]:
        hop = hop_ns(window)
        since = (at - window.seconds * SECOND) // hop * hop
        total = np.zeros(len(rows), np.int64)
        for known in self._events(key, window.label):
            total += known.count(rows, position, since)
        return total

    def _events(self, key: str, label: str) -> list[KnownEvents]:
        """The events of a label by user or item; of ANY, one after another of all there are."""
        if (key, label) not in self._known:
            rows = self._rows[key]
            self._known[key, label] = [KnownEvents(rows[p], self._at[p], p) for p in self._places(label)]
        return self._known[key, label]

    def _places(self, label: str) -> Iterator[NDArray[np.int64]]:
        """Places of the rows that are an event of a label."""
        if label in (ANY, IMPRESSIONS) if self._flags else label != IMPRESSIONS:
            yield np.arange(len(self._at))
        for name, flag in self._flags.items():
            if label in (ANY, name):
                yield np.flatnonzero(flag)
