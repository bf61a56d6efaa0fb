"""`cascade feedback`: events join the slates that they are of. Ended anywhere, the same command goes on."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from operations.feedback.events import Cursor, Event, Refused, read_file, read_stream
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
from operations.feedback.quality import Quality, update_quality
from operations.feedback.schema import DAY_NS, JOINED, date_of, day_of, request_days
from operations.feedback.slates import answered, find_slates, item_rows
from operations.feedback.status import FEEDBACK_STATUS, FeedbackStatus
from operations.feedback.users import UserKeys
from operations.folder import FORGOTTEN, REQUESTS, Change, held, read_json
from workflows.core.disk import writing
from workflows.core.errors import DataError

__all__ = ["Outcome", "feedback"]

# Events that are joined at once, while others who write to MON wait.
TOGETHER = 100_000
SHOWN_REFUSALS = 5
# An id that came again within ten minutes may have its first answer on the day before.
DAYS_OF_AN_ID = 1


@dataclass
class Outcome:
    """What one command did.

    Attributes:
        counts: "read" rows, "copies" of events, "copied" events that had any, "refused" rows, "forgotten" users' events
            and "new" events.
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


def feedback(
    folder: Path,
    source: Path | None = None,
    *,
    impressions: str | None = None,
    attribution_h: float | None = None,
    again: bool = False,
    now: float | None = None,
) -> Outcome:
    """Take in new events, and join what is kept with slates that were collected since.

    Args:
        folder: MON.
        source: a Parquet, CSV or NDJSON file; or the folder of live events, or the run or repository whose they are.
            None: no new events.
        impressions: one of IMPRESSIONS; None: as before, at first "slate".
        attribution_h: see `Rules`; None: as before, at first 24.
        again: join all that is kept anew, by rules that may be new.
        now: seconds since 1970; what is after it tells nothing of how late labels come.

    Raises:
        ArtefactError: there is no MON, it is held, or a file or salt cannot be read.
        ConfigError: the rules are not those of before.
        DataError: the source is no source of events, or every row of it is refused.
        CascadeError: the disk is full.
    """
    status = FeedbackStatus.load(folder)
    status.agree(impressions, attribution_h, again=again)
    outcome, cursor = Outcome(), None
    copied: set[bytes] = set()
    for events, refused, cursor in _parts(source, status):
        outcome.counts["read"] += len(events) + len(refused)
        outcome.counts["refused"] += len(refused)
        outcome.refused += refused[: SHOWN_REFUSALS - len(outcome.refused)]
        if outcome.counts["refused"] == outcome.counts["read"]:
            continue
        with writing("feedback", folder), held(folder, "joined"):
            join = _Join(folder, outcome)
            join.status.agree(impressions, attribution_h, again=again)
            join.take(events, cursor, len(refused), copied)
            join.finish(all_days=False)
    if outcome.counts["read"] and outcome.counts["refused"] == outcome.counts["read"]:
        first = outcome.refused[0]
        raise DataError(f"feedback: no row of {source} is an event; row {first.line}: {first.why}")
    with writing("feedback", folder), held(folder, "joined"):
        join = _Join(folder, outcome)
        join.status.agree(impressions, attribution_h, again=again)
        join.finish(all_days=again)
        outcome.quality = update_quality(folder, time.time_ns() if now is None else round(now * 1e9))
    outcome.counts["copied"] = len(copied)
    outcome.status = join.status
    return outcome


def _parts(source: Path | None, status: FeedbackStatus) -> Iterator[tuple[list[Event], list[Refused], Cursor | None]]:
    """Events of the source, not too many at once."""
    if source is None:
        return
    if source.is_dir():
        events: list[Event] = []
        cursor = None
        for some, cursor in read_stream(source, status.logs):
            events += some
            if len(events) >= TOGETHER:
                yield events, [], cursor
                events = []
        if cursor:
            yield events, [], cursor
        return
    rows = read_file(source)
    while part := list(islice(rows, TOGETHER)):
        yield [r for r in part if isinstance(r, Event)], [r for r in part if isinstance(r, Refused)], None


class _Join:
    """One change of MON, which is held."""

    def __init__(self, folder: Path, outcome: Outcome) -> None:
        self.folder, self.outcome = folder, outcome
        self.status, self.days = FeedbackStatus.load(folder), Days(folder)
        self._new: dict[int, pa.Table] = {}

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
        users = UserKeys(self.folder, self.status.rules.window_ns)
        forgotten = {bytes.fromhex(key): at for key, at in read_json(self.folder / FORGOTTEN, {}).items()}
        by_day: dict[int, list[tuple[Event, list[bytes]]]] = {}
        num_forgotten = 0
        for event in fresh.values():
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
            "events": len(fresh) - num_forgotten,
        }
        self.status.counts.update(counted)
        self.outcome.counts.update({"copies": counted["copies"], "forgotten": num_forgotten, "new": counted["events"]})
        if cursor is not None:
            self.status.logs[cursor.log] = cursor.offset

    def finish(self, *, all_days: bool) -> None:
        """Find the slates of new events, and of those near requests that were collected since; all or nothing."""
        assert self.status.rules is not None
        change = Change(self.folder)
        try:
            fresh = self._fresh_days()
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
        fresh = [name for name, files in there.items() if set(files) - set(self.status.seen.get(name, []))]
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
        """The slates that the events of some days may be of: the latest days first, until all ids are found."""
        assert self.status.rules is not None
        every = [event for some in events.values() for event in some]
        if not every:
            return []
        reach = math.ceil(self.status.rules.window_ns / DAY_NS)
        first, last = min(events) - reach, max(events) + reach
        ids = {event.request_id for event in every if event.request_id}
        keys = {key for event in every for key in event.user_keys if not event.request_id}
        by_day: dict[int, list[Path]] = {}
        for place in request_days(self.folder):
            by_day.setdefault(date_of(place), []).extend(sorted(place.glob("[!.]*.parquet")))
        found: list[Slate] = []
        missing, more = set(ids), DAYS_OF_AN_ID
        for day in sorted((day for day in by_day if day <= last), reverse=True):
            if day < first and not missing:
                more -= 1
                if more < 0:
                    break
            some = find_slates(by_day[day], ids, keys if first <= day else ())
            missing -= {slate.request_id for slate in some}
            found += some
        return _first_of_each(found)

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
            read = [pq.ParquetFile(path, page_checksum_verification=True).read() for path in paths]
            slates = answered(pa.concat_tables(read, promote_options="default").unify_dictionaries())
            if not slates.num_rows:
                continue
            keys = slates["slate_key"].combine_chunks()
            events = of_slates(self.days, tables, keys, date_of(Path(name)))
            if any((self.folder / JOINED / name).glob("[!.]*.parquet")):
                self.outcome.changed.add(name)
            place_file(change, self.folder / JOINED / name, joined_rows(slates, events, self.status.rules.impressions))


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
