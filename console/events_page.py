"""The Events page: the last live events as they come in, each one click from what it does to its user's slate."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import Any, NamedTuple
from urllib.parse import urlencode

from console.catalogue import Catalogue, Named
from console.form import UserForm
from console.latest_events import Event, Latest, latest_events
from console.page import Page
from console.site import Open, Site
from runtime.stream.events import FORGET, INTERACTION, ITEM, KINDS
from workflows.core.errors import CascadeError

__all__ = ["events_page"]

NUM_LATEST = 30
NO_STREAM = "This chain was exported without [stream] in its config, so that no events reach it."


class Line(NamedTuple):
    """A line of the table.

    Attributes:
        event: what came.
        is_new: whether it came since the page was looked at before.
        item: of the event; None: the kind has none.
        what: it says, in words.
        when: it came, as text in UTC.
        without: the address of its user's slate without it; empty: it is no interaction that the chain can know.
    """

    event: Event
    is_new: bool
    item: Named | None
    what: str
    when: str
    without: str


def events_page(site: Site, user: str, after: str) -> Page:
    """The last events.

    Args:
        site: of the console.
        user: raw id, whose events alone are wanted; empty: everybody's.
        after: the offset at which the page ended before; empty, or no number: it was not looked at before.
    """
    with site.chain() as chain:
        values: dict[str, Any] = {"user": user, "problem": "", "latest": None, "lines": [], "again": "", "folder": ""}
        if (sentence := _why_none(chain)) or chain.explainer.events is None:
            return Page("events.html.j2", {**values, "problem": sentence})
        folder = chain.explainer.events
        try:
            latest = latest_events(folder, NUM_LATEST, user)
        except CascadeError as error:
            return Page("events.html.j2", {**values, "problem": str(error), "again": _again(user, after)}, 503)
        values |= {"latest": latest, "folder": folder, "again": _again(user, str(latest.next_offset))}
        if after == str(latest.next_offset):
            return Page("events.html.j2", values, 204)
        seen = int(after) if after.isdecimal() else latest.next_offset
        values["lines"] = [_line(chain.catalogue, event, seen) for event in latest.events]
        values["said"] = _said(latest, seen)
        return Page("events.html.j2", values)


def _why_none(chain: Open) -> str:
    if chain.explainer.nodes.spec.live is None:
        return NO_STREAM
    if chain.explainer.events is None:
        return (
            "No event has come yet. A server that keeps its events elsewhere than in the run or beside the repository "
            "was started with --events EVENTS: start the console with the same."
        )
    return ""


def _again(user: str, after: str) -> str:
    pairs = {"user": user, "after": after}
    return f"/events?{urlencode({name: value for name, value in pairs.items() if value})}"


def _said(latest: Latest, seen: int) -> str:
    new = latest.next_offset - seen
    return "" if new <= 0 else "1 new event" if new == 1 else f"{new:,} new events"


def _line(catalogue: Catalogue, event: Event, seen: int) -> Line:
    counts = event.kind == KINDS[INTERACTION] and catalogue.holds(event.item)
    return Line(
        event,
        event.offset >= seen,
        catalogue.known(event.item) if event.kind != KINDS[FORGET] else None,
        _what(event),
        _when(event.received_at),
        UserForm(user=event.user, without=(event.item,)).address() if counts else "",
    )


def _when(received_at: int) -> str:
    """Nanoseconds since 1970 in UTC, of today the time alone."""
    came = datetime.fromtimestamp(received_at / 1e9, timezone.utc)
    is_today = came.date() == datetime.now(timezone.utc).date()
    return came.strftime("%H:%M:%S" if is_today else "%Y-%m-%d %H:%M:%S")


def _what(event: Event) -> str:
    """An event in words."""
    if event.kind == KINDS[INTERACTION]:
        value = "" if math.isnan(event.value) or event.value == 1 else f" {event.value:g}"
        return f"{event.label or event.kind}{value}"
    if event.kind == KINDS[ITEM]:
        stock = "" if math.isnan(event.value) else ": in stock" if event.value else ": out of stock"
        return f"{event.kind}{stock}"
    return event.kind
