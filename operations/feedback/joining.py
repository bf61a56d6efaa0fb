"""One change of MON by `cascade feedback`: new events, and those near requests that were collected since."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from operations.feedback.events import Cursor, Event, Refused
from operations.feedback.joined import joined_rows
from operations.feedback.kept import (
    MATCHED,
    Days,
    counts_of,
    known_keys,
    of_slates,
    place_file,
    read_whole,
    said,
    table_of,
    with_matches,
)
from operations.feedback.match import Said, Slate, match
from operations.feedback.quality import Quality
from operations.feedback.schema import DAY_NS, JOINED, date_of, day_of, request_days
from operations.feedback.slates import answered, find_slates, item_rows
from operations.feedback.status import FEEDBACK_STATUS, FeedbackStatus
from operations.feedback.users import UserKeys
from operations.folder import FORGOTTEN, REQUESTS, Change, read_json
from runtime.log.sampling import key_of

__all__ = ["Joining", "Outcome"]

# Hashes of the request ids of a day, so that a late event need not read all days.
IDS = "ids.npy"


@dataclass
class Outcome:
    """What one command did.

    Attributes:
        counts: "read" rows, "copies" of events, "copied" events that had any, "refused" rows, events of "forgotten"
            users, events that are "not_sampled" and "new" ones.
        refused: the first of them.
        changed: days of a version whose rows were written anew, of those that had been joined before: late events.
        status: of MON, afterwards.
        quality: every figure, afterwards.
    """

    counts: Counter[str] = field(default_factory=Counter)
    refused: list[Refused] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)
    status: FeedbackStatus = field(default_factory=lambda: FeedbackStatus({}))
    quality: list[Quality] = field(default_factory=list)


class Joining:
    """One change of MON, which is held.

    Args:
        folder: MON.
        outcome: of the command; added to.
    """

    def __init__(self, folder: Path, outcome: Outcome) -> None:
        self.folder, self.outcome = folder, outcome
        self.status, self.days = FeedbackStatus.load(folder), Days(folder)
        self._new: dict[int, pa.Table] = {}
        self._fresh = self._fresh_days()

    def take(self, events: Sequence[Event], cursor: Cursor | None, num_refused: int, copied: set[bytes]) -> None:
        """Take in the events that are not there yet.

        Args:
            events: of a source.
            cursor: how far it is read now.
            num_refused: rows beside them.
            copied: keys of events that came more than once; added to.
        """
        assert self.status.rules is not None
        known = known_keys(self.days, [event.key for event in events])
        fresh: dict[bytes, Event] = {}
        for event in events:
            if event.key in known or event.key in fresh:
                copied.add(event.key)
            else:
                fresh[event.key] = event
        users = UserKeys(self.folder, self.status.rules.window_ns, self.status.salts)
        forgotten = {bytes.fromhex(key): at for key, at in read_json(self.folder / FORGOTTEN, {}).items()}
        by_day: dict[int, list[tuple[Event, list[bytes]]]] = {}
        num_forgotten = num_others = 0
        for event in fresh.values():
            if not self.status.is_sampled(event.request_id):
                num_others += 1
                continue
            keys = users.of(event.user, event.at)
            if any(event.at <= forgotten.get(key, -1) for key in keys):
                num_forgotten += 1
                continue
            by_day.setdefault(day_of(event.at), []).append((event, keys))
        self._new = {
            day: table_of([event for event, _ in some], [keys for _, keys in some]) for day, some in by_day.items()
        }
        counted = {
            "copies": len(events) - len(fresh),
            "refused": num_refused,
            "forgotten": num_forgotten,
            "not_sampled": num_others,
            "events": len(fresh) - num_forgotten - num_others,
        }
        self.status.counts.update(counted)
        self.outcome.counts.update({name: counted[name] for name in ("copies", "forgotten", "not_sampled")})
        self.outcome.counts["new"] += counted["events"]
        if cursor is not None:
            self.status.logs[cursor.log] = max(cursor.offset, self.status.logs.get(cursor.log, 0))

    def finish(self, *, all_days: bool) -> None:
        """Find the slates of new events, and of those near requests that were collected since; all or nothing."""
        assert self.status.rules is not None
        change = Change(self.folder)
        try:
            fresh = self._fresh
            reach = math.ceil(self.status.rules.window_ns / DAY_NS)
            first = min((date_of(Path(name)) for name in fresh), default=1 << 40) - reach
            near = {day for day in self.days.files if day >= first or all_days} | set(self._new)
            tables = {day: pa.concat_tables([self.days.read(day), *self._new_of(day)]) for day in sorted(near)}
            touched = set(fresh) | (set(_names(request_days(self.folder))) if all_days else set())
            touched |= self._match(change, tables)
            self._write_joined(change, tables, touched)
            self._count_others(tables)
            change.place_json(self.folder / FEEDBACK_STATUS, self.status.record())
            change.commit()
        except BaseException:
            change.abandon()
            raise

    def _new_of(self, day: int) -> list[pa.Table]:
        return [self._new[day]] if day in self._new else []

    def _fresh_days(self) -> list[str]:
        """The days of requests that have got files since, as chain=K/date=D."""
        there = {name: sorted(path.name for path in (self.folder / REQUESTS / name).glob("[!.]*.parquet")) for name in
                 _names(request_days(self.folder))}  # fmt: skip
        fresh = []
        for name, files in there.items():
            new = sorted(set(files) - set(self.status.seen.get(name, [])))
            for file in new:
                table = read_whole(self.folder / REQUESTS / name / file, ["salt_id", "weight"])
                least = pc.min(table["weight"].filter(pc.greater(table["weight"], 0))).as_py()
                salts = pc.unique(table["salt_id"]).to_pylist()
                self.status.note(date_of(Path(name)), salts, 1 / least if least else 0.0)
            fresh += [name] if new else []
        self.status.seen = there
        return fresh

    def _match(self, change: Change, tables: dict[int, pa.Table]) -> set[str]:
        """Match the events of some days, in place; returns the days of requests whose slates they left or came to."""
        assert self.status.rules is not None
        events = {day: said(table) for day, table in tables.items()}
        every = [event for some in events.values() for event in some]
        items = {event.item_id for event in every}
        slates = self._slates(events)
        rows = item_rows(self.folder, {slate.chain_key for slate in slates}, items)
        found = match(every, slates, rows, self.status.rules.window_ns)
        touched: set[str] = set()
        start = 0
        for day, before in tables.items():
            table = with_matches(before, found[start : start + before.num_rows], rows)
            start += before.num_rows
            tables[day] = table
            self.status.days[_text(day)] = counts_of(table)
            is_changed = _differ(before, table)
            if is_changed.any() or day in self._new:
                self.days.place(change, day, table)
            for some in (before, table):
                touched |= _slate_days(some.filter(pa.array(is_changed)))
        return touched

    def _slates(self, events: Mapping[int, Sequence[Said]]) -> list[Slate]:
        """The slates that the events of some days may be of."""
        assert self.status.rules is not None
        every = [event for some in events.values() for event in some]
        if not every:
            return []
        reach = math.ceil(self.status.rules.window_ns / DAY_NS)
        first, last = min(events) - reach, max(events) + reach
        ids = {event.request_id for event in every if event.request_id}
        keys = {key for event in every for key in event.user_keys if not event.request_id}
        wanted = np.array([key_of(request_id) for request_id in ids], np.uint64)
        found: list[Slate] = []
        for place in request_days(self.folder):
            is_near = first <= date_of(place) <= last and len(keys) > 0
            if is_near or self._holds(place, wanted):
                paths = sorted(place.glob("[!.]*.parquet"))
                found += find_slates(paths, ids, keys if is_near else ())
        return _first_of_each(found)

    def _holds(self, place: Path, wanted: np.ndarray) -> bool:
        """Whether a day of requests may hold one of some ids; of a day with new files it is not known."""
        name = f"{place.parent.name}/{place.name}"
        path = self.folder / JOINED / name / IDS
        if name in self._fresh or not path.is_file():
            return len(wanted) > 0
        return bool(np.isin(wanted, np.load(path, allow_pickle=False)).any())

    def _count_others(self, tables: Mapping[int, pa.Table]) -> None:
        """Count the days that were not looked at: users may have been erased, and days pruned."""
        there = {_text(day) for day in (*tables, *self.days.files)}
        self.status.days = {name: counts for name, counts in self.status.days.items() if name in there}
        for day, path in self.days.files.items():
            if day not in tables:
                self.status.days[_text(day)] = counts_of(read_whole(path, ["label", "how", "why_not"]))

    def _write_joined(self, change: Change, tables: Mapping[int, pa.Table], touched: Collection[str]) -> None:
        assert self.status.rules is not None
        for name in sorted(touched):
            paths = sorted((self.folder / REQUESTS / name).glob("[!.]*.parquet"))
            if not paths:  # pruned
                continue
            read = [read_whole(path) for path in paths]
            slates = answered(pa.concat_tables(read, promote_options="default").unify_dictionaries())
            if not slates.num_rows:
                continue
            keys = slates["slate_key"].combine_chunks()
            events = of_slates(self.days, tables, keys, date_of(Path(name)))
            if any((self.folder / JOINED / name).glob("[!.]*.parquet")):
                self.outcome.changed.add(name)
            place_file(change, self.folder / JOINED / name, joined_rows(slates, events, self.status.rules.impressions))
            with change.place(self.folder / JOINED / name / IDS).open("wb") as file:
                np.save(file, np.unique(slates["key"].to_numpy()))


def _names(places: Sequence[Path]) -> list[str]:
    return [f"{place.parent.name}/{place.name}" for place in places]


def _text(day: int) -> str:
    return str(np.datetime64(day, "D"))


def _first_of_each(slates: Sequence[Slate]) -> list[Slate]:
    """Each slate once: the first answer."""
    by_key: dict[bytes, Slate] = {}
    for slate in sorted(slates, key=lambda slate: slate.at):
        by_key.setdefault(slate.key, slate)
    return list(by_key.values())


def _differ(before: pa.Table, after: pa.Table) -> np.ndarray:
    """Whether an event is of another slate than before, or is so now; bool [n]."""
    differ = np.zeros(before.num_rows, bool)
    for name in MATCHED:
        same = pc.fill_null(pc.equal(before[name], after[name]), False)
        both = pc.and_(pc.is_null(before[name]), pc.is_null(after[name]))
        differ |= ~np.asarray(pc.or_(same, both).combine_chunks().to_numpy(zero_copy_only=False), bool)
    return differ


def _slate_days(table: pa.Table) -> set[str]:
    """The days of requests whose slates the events are of, as chain=K/date=D."""
    at, chains = table["slate_at"].cast(pa.int64()).to_pylist(), table["chain_key"].to_pylist()
    pairs = zip(chains, at, strict=True)
    return {f"chain={chain[:16]}/date={_text(day_of(when))}" for chain, when in pairs if chain is not None}
