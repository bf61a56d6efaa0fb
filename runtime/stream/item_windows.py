"""Stream features of candidates: the windows of the items that have any, in memory, brought up to date a batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.ranker.pairs import STREAM, STREAM_KNOWN
from runtime.spec import ChainSpec
from runtime.stream.features import LiveFeature, of_records, pair_value
from runtime.stream.items import CatalogueKeys
from runtime.stream.live import AWAY, live_state
from runtime.stream.record import item_record
from runtime.stream.served import MOST_ITEMS, ServedSample, plain

__all__ = ["ItemWindows"]


class ItemWindows:
    """The windows of the catalogue's items, as of the state's position.

    Args:
        folder: a compiled chain.
        spec: its chain.json, whose `live` has item features.
    """

    def __init__(self, folder: Path, spec: ChainSpec) -> None:
        assert spec.live is not None
        self._features, self._windows = spec.live.item_features, spec.live.stream.item_windows
        self._state, self._catalogue = live_state(spec.live.stream), CatalogueKeys(folder, spec)
        self._num_items, self._dtype = spec.num_items, item_record(spec.live.stream)
        self._forget()
        self._opened = 0
        stream, events = spec.live.stream, self._state.events
        self._served = None
        if stream.audit_share and events is not None:
            self._served = ServedSample(events, stream.audit_share, stream.state_version, self._features)

    def values(self, rows: NDArray, at: NDArray[np.int64], offset: int) -> dict[str, NDArray[np.float32]]:
        """Pair features by name.

        Args:
            rows: item rows [B, C]; negative ones are no item.
            at: int64 [B], nanoseconds.
            offset: the position of the state that the batch was encoded with; AWAY: nothing is known.

        Returns:
            float32 [B, C] each; all 0 where nothing is known.
        """
        if offset == AWAY or self._state.is_stale() or not self._refresh(offset):
            nothing = np.zeros(rows.shape, np.float32)
            return {STREAM_KNOWN: nothing, **{STREAM + feature.name: nothing for feature in self._features}}
        places = self._place[np.maximum(rows, 0)].ravel()
        records, t = self._records[places], np.repeat(at, rows.shape[1])
        found = {f.name: pair_value(f, of_records(f, records, self._windows, (), t)) for f in self._features}
        if self._served is not None:
            self._keep(self._served, rows, at, {n: values.reshape(rows.shape) for n, values in found.items()})
        known = np.ones(rows.shape, np.float32)
        return {STREAM_KNOWN: known, **{STREAM + name: values.reshape(rows.shape) for name, values in found.items()}}

    def _keep(
        self, served: ServedSample, rows: NDArray, at: NDArray[np.int64], found: dict[str, NDArray[np.float32]]
    ) -> None:
        """Keep what some users' first candidates are given."""
        lines = []
        for user in served.draw(len(rows)):
            places = np.flatnonzero(rows[user] >= 0)[:MOST_ITEMS]
            items = self._catalogue.keys(rows[user][places]).tolist()
            values = {name: plain(column[user][places]) for name, column in found.items()}
            lines.append({"t": int(at[user]), "items": items, "values": values})
        if lines:
            served.write(self._state.log_id, self._position, lines)

    def counts(self, feature: LiveFeature, at: int, offset: int) -> NDArray[np.float64] | None:
        """A feature of the whole catalogue; float64 [N], None where nothing is known."""
        if offset == AWAY or self._state.is_stale() or not self._refresh(offset):
            return None
        found = of_records(feature, self._records[: self._used], self._windows, (), np.array([at]))
        return np.asarray(found[self._place])

    def _forget(self) -> None:
        """An empty record in place 0, where every item begins."""
        self._position = AWAY
        self._place = np.zeros(self._num_items, np.int32)
        self._records = np.zeros(1024, self._dtype)
        self._used = 1

    def _refresh(self, offset: int) -> bool:
        """Take in every event below an offset; whether that is known."""
        if self._position >= offset:
            return True
        changes = self._state.count_changes(self._position, self._opened)
        if changes is None:
            self._forget()
            return False
        if changes.is_whole:
            self._forget()
        rows = self._catalogue.rows(changes.items)
        held = rows >= 0
        self._put(rows[held], changes.records[held])
        self._position, self._opened = changes.position, changes.opened
        return True

    def _put(self, rows: NDArray[np.int32], records: NDArray) -> None:
        fresh = np.flatnonzero(self._place[rows] == 0)
        needed = self._used + len(fresh)
        if needed > len(self._records):
            grown = np.zeros(max(needed, 2 * len(self._records)), self._dtype)
            grown[: self._used] = self._records[: self._used]
            self._records = grown
        self._place[rows[fresh]] = np.arange(self._used, needed)
        self._used = needed
        self._records[self._place[rows]] = records
