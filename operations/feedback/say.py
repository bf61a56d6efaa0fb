"""What `cascade feedback` prints."""

from __future__ import annotations

from pathlib import Path

from operations.feedback.join import Outcome
from operations.feedback.match import EARLY, FOREIGN, NO_SLATE, NO_VERSION
from workflows.core import console

__all__ = ["say"]

WORDS = {
    EARLY: "before their slate",
    FOREIGN: "of items that their slates do not hold",
    NO_SLATE: "whose slate is not logged, or not collected yet",
    NO_VERSION: "of versions whose files are gone",
}


def say(folder: Path, outcome: Outcome) -> None:
    """Tell people what became of the events."""
    counts, totals = outcome.counts, outcome.status.totals()
    for refused in outcome.refused:
        console.say(f"feedback: row {refused.line} is left out: {refused.why}")
    if counts["refused"] > len(outcome.refused):
        console.say(f"feedback: {counts['refused']:,} rows are left out in all")
    copies = f", {counts['copies']:,} copies of {counts['copied']:,} events are left out" if counts["copies"] else ""
    gone = f", {counts['forgotten']:,} are of users who were erased" if counts["forgotten"] else ""
    if counts["read"]:
        console.say(f"feedback: {counts['read']:,} rows read, {counts['new']:,} events are new{copies}{gone}")
    if outcome.changed:
        console.say(f"feedback: days of requests that were joined before and have changed: {len(outcome.changed)}")
    why = ", ".join(f"{totals[name]:,} {words}" for name, words in WORDS.items() if totals[name])
    unmatched = sum(totals[name] for name in WORDS)
    console.say(
        f"feedback: of all events in {folder}, {totals['id']:,} are joined by request id and {totals['attributed']:,} "
        f"by user; {unmatched:,} are unmatched{': ' + why if why else ''}"
    )
