"""status.json of MON/feedback: how events are joined, how far their sources are read, and what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from operations.feedback.joined import IMPRESSIONS, Impressions
from operations.feedback.schema import FEEDBACK
from operations.folder import read_json
from runtime.log.sampling import key_of, limit_of
from workflows.core.errors import ArtefactError, ConfigError

__all__ = ["ATTRIBUTION_H", "FEEDBACK_STATUS", "FeedbackStatus", "Rules"]

FEEDBACK_STATUS = f"{FEEDBACK}/status.json"
ATTRIBUTION_H = 24.0
# The share is known by the weight of a request, 1 / share in 32 bits.
ROUNDED = 1 + 1e-6
OTHERWISE = "; --again joins all that is kept anew in this way"


class Rules:
    """How events are joined: one way for all of MON, since two would count the same impression twice.

    Attributes:
        impressions: what counts as seen.
        attribution_h: hours after a slate within which an event without a request id may be of it.
    """

    def __init__(self, impressions: Impressions, attribution_h: float) -> None:
        self.impressions, self.attribution_h = impressions, attribution_h

    @property
    def window_ns(self) -> int:
        """The same in nanoseconds."""
        return round(self.attribution_h * 3600e9)


class FeedbackStatus:
    """What `cascade feedback` knows from before.

    Attributes:
        rules: None before the first time.
        days: date of events -> counts: id, attributed, and why the others are unmatched.
        counts: "events" that were taken, "copies" that were left out, "refused" rows, "forgotten" users' events, and
            events of requests that are "not_sampled".
        logs: id of a log of live events -> first offset that has not been read.
        seen: folders of requests, as chain=K/date=D -> names of the files that events were joined with.
        salts: id of a salt -> the first and the last day, since 1970, of requests that were logged with it.
        share: the largest share of the requests that was logged; 0: no request is known.
    """

    def __init__(self, record: dict[str, Any]) -> None:
        found = record.get("rules")
        self.rules = Rules(found["impressions"], found["attribution_h"]) if found else None
        self.days: dict[str, dict[str, int]] = record.get("days", {})
        self.counts = Counter[str](record.get("counts", {}))
        self.logs: dict[str, int] = record.get("logs", {})
        self.seen: dict[str, list[str]] = record.get("seen", {})
        self.salts: dict[str, list[int]] = record.get("salts", {})
        self.share: float = record.get("share", 0.0)

    @classmethod
    def load(cls, folder: Path) -> FeedbackStatus:
        """The status of MON; one without anything where it is new.

        Raises:
            ArtefactError: it cannot be read.
        """
        try:
            return cls(read_json(folder / FEEDBACK_STATUS, {}))
        except (KeyError, TypeError, AttributeError):
            raise ArtefactError(f"{folder / FEEDBACK_STATUS} is none of `cascade feedback`; put a copy back") from None

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        rules = self.rules
        kept = {"impressions": rules.impressions, "attribution_h": rules.attribution_h} if rules else None
        return {
            "rules": kept,
            "days": self.days,
            "counts": dict(self.counts),
            "logs": self.logs,
            "seen": self.seen,
            "salts": self.salts,
            "share": self.share,
        }

    def agree(self, impressions: str | None, attribution_h: float | None, *, again: bool) -> Rules:
        """The rules of this time.

        Args:
            impressions: as it is wanted; None: as it is.
            attribution_h: the same.
            again: whether all is joined anew, so that they may be others than before.

        Raises:
            ConfigError: there are no such rules, or others are kept.
        """
        before = self.rules or Rules("slate", ATTRIBUTION_H)
        mode = impressions if impressions is not None else before.impressions
        hours = attribution_h if attribution_h is not None else before.attribution_h
        if mode not in IMPRESSIONS:
            raise ConfigError(f"feedback: --impressions {mode}: expected one of {', '.join(IMPRESSIONS)}")
        if not 0 < hours <= 24 * 365:
            raise ConfigError(f"feedback: --attribution-hours {hours:g}: expected hours, more than 0 and up to a year")
        if self.rules and not again:
            if mode != before.impressions:
                raise ConfigError(f"feedback: impressions are counted as '{before.impressions}' here{OTHERWISE}")
            if hours != before.attribution_h:
                raise ConfigError(f"feedback: events are attributed within {before.attribution_h:g} h here{OTHERWISE}")
        self.rules = Rules(mode, hours)  # type: ignore[arg-type]
        return self.rules

    def note(self, day: int, salts: Iterable[str], share: float) -> None:
        """Remember of a file of requests with which salts, and which share of all, it was logged."""
        for name in salts:
            first, last = self.salts.get(name, (day, day))
            self.salts[name] = [min(first, day), max(last, day)]
        self.share = max(self.share, share)

    def is_sampled(self, request_id: str) -> bool:
        """Whether a request may be logged; by the hash of its id, as the server decides. Without an id: True."""
        return not request_id or not self.share or key_of(request_id) < limit_of(min(self.share * ROUNDED, 1.0))

    def totals(self) -> Counter[str]:
        """The counts of all days."""
        total: Counter[str] = Counter()
        for day in self.days.values():
            total.update(day)
        return total
