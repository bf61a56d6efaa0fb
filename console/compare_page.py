"""The Compare page: one user's slate of two runs or versions side by side, and the figures of both."""

from __future__ import annotations

import itertools
from typing import Any

from console.catalogue import Named
from console.form import NAMES, UserForm
from console.overview_page import quality_of
from console.page import MissingPage, Page
from console.site import Open, Site
from workflows.core.errors import RequestError

__all__ = ["compare_page"]

# A place of one slate: the item, its score, and its place in the other slate; None: it is not there.
Place = tuple[Named, float, int | None]


def compare_page(site: Site, form: UserForm) -> Page:
    """What both answer to one user.

    Raises:
        MissingPage: the console was started with one chain alone.
    """
    if site.beside is None:
        raise MissingPage("this page compares two chains: start the console with --beside OTHER, a run or a repository")
    values: dict[str, Any] = {"form": form, "problem": "", "names": (site.target, site.beside.target), "places": []}
    with site.chain() as left, site.beside.chain() as right:
        values |= {"users": left.users, "served": (left.explainer.served, right.explainer.served)}
        values["figures"] = [
            (name, quality_of(chain)) for name, chain in zip(values["names"], (left, right), strict=True)
        ]
        if not form.user:
            return Page("compare.html.j2", values)
        try:
            slates = [_slate(chain, form) for chain in (left, right)]
        except RequestError as error:
            return Page("compare.html.j2", {**values, "problem": str(error)}, 400)
    values["places"] = list(itertools.zip_longest(_beside(*slates), _beside(*reversed(slates))))
    common = len({item.id for item, _ in slates[0]} & {item.id for item, _ in slates[1]})
    return Page("compare.html.j2", {**values, "common": common, "said": f"{common} items are in both slates"})


def _slate(chain: Open, form: UserForm) -> list[tuple[Named, float]]:
    funnel = chain.explainer.funnel(form.request(), names=NAMES)
    return [(chain.catalogue.item(shown.row), shown.score) for shown in funnel.slate]


def _beside(slate: list[tuple[Named, float]], other: list[tuple[Named, float]]) -> list[Place]:
    places = {item.id: place for place, (item, _) in enumerate(other, start=1)}
    return [(item, score, places.get(item.id)) for item, score in slate]
