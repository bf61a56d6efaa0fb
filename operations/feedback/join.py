"""`cascade feedback`: events join the slates that they are of. Ended anywhere, the same command goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from operations.feedback.events import Cursor, Event, Refused, read_file, read_stream
from operations.feedback.joining import Joining, Outcome
from operations.feedback.quality import update_quality
from operations.feedback.status import FeedbackStatus
from operations.folder import held
from workflows.core.disk import writing
from workflows.core.errors import DataError

__all__ = ["feedback"]

# Events that are joined at once, while others who write to MON wait.
TOGETHER = 100_000
SHOWN_REFUSALS = 5


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

    def joining() -> Joining:
        join = Joining(folder, outcome)
        join.status.agree(impressions, attribution_h, again=again)
        return join

    if again:  # new rules and all that is joined by them, in one change
        with writing("feedback", folder), held(folder, "joined"):
            joining().finish(all_days=True)
    for events, refused, cursor in _parts(source, status):
        outcome.counts["read"] += len(events) + len(refused)
        outcome.counts["refused"] += len(refused)
        outcome.refused += refused[: SHOWN_REFUSALS - len(outcome.refused)]
        if outcome.counts["refused"] == outcome.counts["read"]:
            continue
        with writing("feedback", folder), held(folder, "joined"):
            join = joining()
            join.take(events, cursor, len(refused), copied)
            join.finish(all_days=False)
    if outcome.counts["read"] and outcome.counts["refused"] == outcome.counts["read"]:
        first = outcome.refused[0]
        raise DataError(f"feedback: no row of {source} is an event; row {first.line}: {first.why}")
    with writing("feedback", folder), held(folder, "joined"):
        join = joining()
        join.finish(all_days=False)
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
