"""The User page: a slate, the funnel that it came through, and why an item is in it, or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from console import charts
from console.catalogue import Catalogue
from console.form import NAMES, UserForm
from console.page import Page
from console.site import Open, Site
from operations.why.answer import Answer
from operations.why.funnel import Funnel, Shown
from operations.why.question import RawQuestion, UnknownItem
from operations.why.table import then
from operations.why.way import INDEX, MERGE, SOURCES
from workflows.core.errors import RequestError

__all__ = ["user_page"]

# Times that the chain runs without an item of the history: more would take longer than a page may.
MOST_LEFT_OUT = 16
PATHS = {
    "known_user": "what is stored of this user, with the history",
    "history": "the recent items of the request; the export does not know the user",
    "context": "the context of the request; the export does not know the user",
    "popularity": "popularity, since nothing is known of the user",
}


def user_page(site: Site, asked: UserForm) -> Page:
    """The page of what an address asks; what is wrong with it is a sentence on the page."""
    with site.chain() as chain:
        values: dict[str, Any] = {
            "known": chain.catalogue.known,
            "asked": asked,
            "explained": asked.item,
            "chain": chain,
            "spec": chain.explainer.nodes.spec,
        }
        values |= {"funnel": None, "answer": None, "problem": "", "note": "", "then": then}
        if not asked.user:
            return Page("user.html.j2", values)
        try:
            funnel = _funnel(chain, asked)
        except RequestError as error:
            return Page("user.html.j2", {**values, "problem": str(error)}, _status(error))
        values |= _told(chain.catalogue, asked, funnel, _before(chain, asked, funnel))
        status = 200
        if not funnel.is_known and asked.names_nothing:
            status, values["note"] = 404, _unknown(chain, asked)
        if asked.item:
            try:
                values["answer"] = answer = _answer(chain, asked)
                can_count = answer.outcome.lost_at in (INDEX, SOURCES, MERGE) and not asked.is_thorough
                values["thorough"] = asked.thorough() if can_count else ""
            except RequestError as error:
                values["problem"], status = str(error), _status(error)
        return Page("user.html.j2", values, status)


def _status(error: RequestError) -> int:
    return 404 if isinstance(error, UnknownItem) else 400


def _funnel(chain: Open, asked: UserForm) -> Funnel:
    return chain.explainer.funnel(asked.request(), without=asked.without, names=NAMES)


def _before(chain: Open, asked: UserForm, funnel: Funnel) -> Funnel:
    """The same user's funnel with nothing changed."""
    return _funnel(chain, asked.unchanged()) if asked.is_changed else funnel


def _answer(chain: Open, asked: UserForm) -> Answer:
    request = asked.request()
    question = RawQuestion(
        asked.item, request.user, request.context, request.recent, request.excluded, request.slate_size
    )
    return chain.explainer.asked(question, MOST_LEFT_OUT, without=asked.without, counts_candidates=asked.is_thorough)


def _unknown(chain: Open, asked: UserForm) -> str:
    known = ", ".join(user for user, _ in chain.users[:3])
    count = chain.explainer.nodes.spec.num_users
    return (
        f"user {asked.user} is not among the {count:,} users that this chain was exported with (such as {known}); "
        "this is the slate of anybody of whom nothing is known"
    )


@dataclass(frozen=True)
class Row:
    """A line of the slate's table.

    Attributes:
        item: what is shown.
        shown: its figures.
        moved: how its place differs from that of the unchanged slate; empty: it does not, or nothing is changed.
        sources: which found it, with its places, in words.
    """

    item: Any
    shown: Shown
    moved: str
    sources: str


def _told(catalogue: Catalogue, asked: UserForm, funnel: Funnel, before: Funnel) -> dict[str, Any]:
    """What the template needs of a funnel."""
    was = {shown.row: shown.place for shown in before.slate}
    now = {shown.row for shown in funnel.slate}
    most = funnel.stages[0].count
    return {
        "funnel": funnel,
        "rests_on": PATHS[funnel.path],
        "rows": [_row(catalogue, shown, was if asked.is_changed else None) for shown in funnel.slate],
        "gone": [catalogue.item(row) for row in was if row not in now],
        "fallen": [_row(catalogue, shown, None) for shown in funnel.fallen],
        "stages": [(stage, charts.bar(stage.count, most)) for stage in funnel.stages],
        "found": [(found, [catalogue.item(row) for row, _ in found.first]) for found in funnel.found],
        "rules": [
            (each, [catalogue.item(row) for row in each.brought], [catalogue.item(row) for row in each.pushed_out])
            for each in funnel.rules
        ],
        "history": [(catalogue.item(each.row), each.origin) for each in funnel.history],
        "removed": [catalogue.known(item) for item in asked.without],
        "slopes": _slopes(funnel),
        "moves": charts.moves(funnel.moves, len(funnel.slate)) if funnel.moves else Markup(),
        "said": f"{len(funnel.slate)} items for user {asked.user}",
    }


def _row(catalogue: Catalogue, shown: Shown, was: dict[int, int | None] | None) -> Row:
    sources = ", ".join(f"{name} {place:,}" for name, place in shown.sources.items())
    moved = ""
    if was is not None and shown.place is not None:
        place = was.get(shown.row)
        moved = "new" if place is None else _moved(place - shown.place)
    return Row(catalogue.item(shown.row), shown, moved, sources)


def _moved(up: int) -> str:
    return "" if up == 0 else f"up {up}" if up > 0 else f"down {-up}"


def _slopes(funnel: Funnel) -> Markup:
    places = [(s.merged_place, s.place) for s in funnel.slate if s.merged_place is not None and s.place is not None]
    return charts.slopes(places) if places and funnel.path != "popularity" else Markup()
