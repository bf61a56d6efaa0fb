"""What live events add to a request: the user's interactions before its own recent items, and further seen items."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.encoders import latest
from runtime.ids import NO_ITEM
from runtime.request import LiveRequest, Parsed
from runtime.spec import ChainSpec
from runtime.stream.features import of_records
from runtime.stream.items import CatalogueKeys
from runtime.stream.live import AWAY, LiveUsers, live_state, now_ns
from runtime.stream.served import ServedSample, plain

__all__ = ["LiveRecent", "RecentItems"]

# How long a request waits for the events that it wants in its slate, and how often it looks.
LONGEST_WAIT_S, POLL_S = 0.05, 0.001
NS_PER_MS = 1_000_000
NO_ROWS = np.zeros(0, np.int32)


@dataclass(frozen=True)
class LiveRecent:
    """What a batch of B users has interacted with lately.

    Attributes:
        recent: int32 [B, R] item rows, those of live events before those of the request; -1 padding, -2 unknown.
        seen: int32 [B, X] item rows that are seen and no more, padded with -1.
        offset: int64 [B, 1], the position of the state; -1 without one.
        age_ms: int64 [B, 1], time since the user's last event; -1 where there is none.
        at: int64 [B, 1], the instant that the slate is for, nanoseconds.
        columns: raw context columns by name, float64 [B], NaN where they are not known.
    """

    recent: NDArray[np.int32]
    seen: NDArray[np.int32]
    offset: NDArray[np.int64]
    age_ms: NDArray[np.int64]
    at: NDArray[np.int64]
    columns: dict[str, NDArray[np.float64]]


class RecentItems:
    """Asks the live state.

    Args:
        folder: a compiled chain.
        spec: its chain.json, whose `live` is set.
    """

    def __init__(self, folder: Path, spec: ChainSpec) -> None:
        assert spec.live is not None
        self._live, self._state = spec.live, live_state(spec.live.stream)
        self._catalogue = CatalogueKeys(folder, spec)
        self._is_text = spec.item_id_dtype == "BYTES"
        share, events = self._live.stream.audit_share, self._state.events
        version, features = self._live.stream.state_version, self._live.user_features
        self._served = ServedSample(events, share, version, features) if share and events is not None else None

    def of(self, parsed: Parsed) -> LiveRecent:
        """The recent items of checked requests.

        What the export has already, by the offset or the instant of an event, is not added to the history again; it is
        seen all the same, which changes nothing where the export says so too. An event of the stream that the request
        repeats counts once, at its place in the request.
        """
        assert parsed.live is not None
        users = self._read(parsed.live)
        # Once for the whole chain: two steps must not see two edges of a window.
        num_users, now = len(parsed.user_row), now_ns()
        at, columns = np.full((num_users, 1), now, np.int64), self._columns(users, num_users, now)
        if users is None:
            none = np.full((num_users, 1), AWAY, np.int64)
            return LiveRecent(parsed.recent, np.full((num_users, 1), NO_ITEM, np.int32), none, none, at, columns)
        rows, seen = self._catalogue.rows(users.items), NO_ROWS
        if len(users.seen_items):
            seen = self._catalogue.rows(users.seen_items)
        is_new = users.is_item & (users.at > self._live.known_at)
        if self._live.known_offset and users.log_id == self._live.known_log:
            is_new &= users.offset >= self._live.known_offset
        num_new = np.count_nonzero(is_new)
        if num_new < np.count_nonzero(users.is_item):
            is_old = users.is_item & ~is_new
            seen = np.concatenate([seen, rows[is_old]])
            place = np.concatenate([users.seen_place, np.repeat(users.place, is_old.sum(axis=1))])
        else:
            place = users.seen_place
        offset = np.full((num_users, 1), users.position, np.int64)
        if len(users.away):
            offset[users.away] = AWAY
        if self._served is not None:
            self._keep(self._served, users, parsed.live, columns, now)
        return LiveRecent(
            recent=self._joined(users, rows, is_new, parsed) if num_new else parsed.recent,
            seen=_padded(seen, place, num_users),
            offset=offset,
            age_ms=_age_ms(users.last_at, now)[:, None],
            at=at,
            columns=columns,
        )

    def _keep(
        self,
        served: ServedSample,
        users: LiveUsers,
        live: LiveRequest,
        columns: dict[str, NDArray[np.float64]],
        now: int,
    ) -> None:
        """Keep what some users of the batch are given."""
        places = {user: number for number, user in enumerate(users.place.tolist())}
        lines = []
        for user in served.draw(len(live.users)):
            key, number = live.users[user], places.get(user)
            if key:
                history = [] if number is None else users.items[number][users.is_item[number]].tolist()
                values = {name: plain(column[user : user + 1])[0] for name, column in columns.items()}
                lines.append({"t": now, "user": self._raw(key), "history": history, "values": values})
        if lines and not users.is_stale:
            served.write(users.log_id, users.position, lines)

    def _raw(self, key: bytes) -> int | str:
        """The id of a user by its key."""
        if self._live.stream.user_id_dtype == "BYTES":
            return key.decode("utf-8", "surrogateescape")
        return int.from_bytes(key, "big") - (1 << 63)

    def _columns(self, users: LiveUsers | None, num_users: int, now: int) -> dict[str, NDArray[np.float64]]:
        """The stream features of users, of one without a record those of an empty one.

        Not known without a state, or where it is too far behind.
        """
        features, stream = self._live.user_features, self._live.stream
        if not features or users is None or users.is_stale:
            return {feature.name: np.full(num_users, np.nan) for feature in features}
        records = np.zeros(num_users, users.records.dtype)
        records[users.known] = users.records
        t = np.array([now])
        found = {f.name: of_records(f, records, stream.user_windows, stream.since, t) for f in features}
        for values in found.values():
            values[users.away] = np.nan
        return found

    def _read(self, live: LiveRequest) -> LiveUsers | None:
        """The users' records, at the position that is asked for if it comes soon."""
        users = self._state.users(live.users)
        wanted, until = int(live.min_offset.max()), time.monotonic() + LONGEST_WAIT_S
        while users is not None and users.position < wanted and time.monotonic() < until:
            time.sleep(POLL_S)
            if self._state.position() >= wanted:
                users = self._state.users(live.users)
        return users

    def _joined(self, users: LiveUsers, rows: NDArray, is_new: NDArray[np.bool_], parsed: Parsed) -> NDArray[np.int32]:
        assert parsed.live is not None
        if parsed.recent.shape[1]:
            is_new = self._not_repeated(users, rows, is_new, parsed.live.recent, parsed.recent != NO_ITEM)
        added = np.where(is_new, rows, np.int32(NO_ITEM))
        if len(users.place) < len(parsed.recent):
            of_known, added = added, np.full((len(parsed.recent), rows.shape[1]), NO_ITEM, np.int32)
            added[users.place] = of_known
        return np.concatenate([added, parsed.recent], axis=1) if parsed.recent.shape[1] else added

    def _not_repeated(
        self, users: LiveUsers, rows: NDArray, is_new: NDArray[np.bool_], names_of_request: NDArray, given: NDArray
    ) -> NDArray[np.bool_]:
        """`is_new` without the events that the request repeats, the latest of an item first."""
        names = np.where(rows >= 0, rows, users.items) if self._is_text else users.items
        kept = is_new.copy()
        for number, place in enumerate(users.place.tolist()):
            requested = names_of_request[place][given[place]]
            left = Counter(requested[np.isin(requested, names[number][is_new[number]])].tolist())
            for at in np.flatnonzero(is_new[number])[::-1].tolist() if left else ():
                if left[name := int(names[number, at])] > 0:
                    left[name] -= 1
                    kept[number, at] = False
        return kept


def _padded(rows: NDArray[np.int32], place: NDArray[np.int64], num_users: int) -> NDArray[np.int32]:
    """Item rows of the users at these places, as [B, X], padded with -1; unknown items are no rows."""
    if not len(rows):
        return np.full((num_users, 1), NO_ITEM, np.int32)
    order = np.argsort(place, kind="stable")
    counts = np.bincount(place, minlength=num_users)
    shifted = np.maximum(rows[order], NO_ITEM) - NO_ITEM
    return latest(shifted, counts, int(counts.max()), from_end=False) + np.int32(NO_ITEM)


def _age_ms(last_at: NDArray[np.int64], now: int) -> NDArray[np.int64]:
    """int64 [B]; an event from the future is as old as one of this instant."""
    age: NDArray[np.int64] = np.maximum(now - last_at, 0) // NS_PER_MS
    return np.where(last_at == 0, AWAY, age)
