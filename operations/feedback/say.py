"""What `cascade feedback` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from operations.feedback.joining import Outcome
from operations.feedback.match import EARLY, FOREIGN, NO_SLATE, NO_VERSION
from operations.feedback.quality import Quality
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
    others = f", {counts['not_sampled']:,} are of requests outside the sample" if counts["not_sampled"] else ""
    if counts["read"]:
        console.say(f"feedback: {counts['read']:,} rows read, {counts['new']:,} events are new{copies}{gone}{others}")
    if outcome.changed:
        console.say(f"feedback: days of requests that were joined before and have changed: {len(outcome.changed)}")
    why = ", ".join(f"{totals[name]:,} {words}" for name, words in WORDS.items() if totals[name])
    unmatched = sum(totals[name] for name in WORDS)
    console.say(
        f"feedback: of all events in {folder}, {totals['id']:,} are joined by request id and {totals['attributed']:,} "
        f"by user; {unmatched:,} are unmatched{': ' + why if why else ''}"
    )
    _say_quality(outcome.quality)


def _say_quality(quality: Sequence[Quality]) -> None:
    """The latest day whose labels have come, of each label; else that there is none."""
    latest = {
        each.figure.label: each
        for each in sorted(quality, key=lambda each: each.day)
        if each.figure.metric == "ctr" and not each.figure.slice and each.figure.is_mature
    }
    for label, each in sorted(latest.items()):
        figure, day = each.figure, np.datetime64(each.day, "D")
        console.say(
            f"feedback: {label} on {day}: {figure.value:.2%} of {figure.num:,} impressions, +- {figure.spread:.2%}"
        )
    if quality and not latest:
        console.say("feedback: every day is provisional: its labels have yet to come, or are fewer than 100")
