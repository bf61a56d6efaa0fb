"""Drawings of the pages as SVG, without styles of their own: the style sheet colours them, light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

__all__ = ["bar", "moves", "slopes"]

BAR_WIDTH, BAR_HEIGHT = 100, 10
SLOPE_WIDTH, SLOPE_HEIGHT, SLOPE_EDGE, SLOPE_TEXT = 340, 300, 14, 44
DOTS, DOT_EDGE, MOST_DOTS = 300, 6, 600


def bar(count: int, most: int) -> Markup:
    """A bar for a count beside the largest one, on a logarithmic scale: a slate is seen beside a catalogue."""
    width = BAR_WIDTH * math.log1p(count) / math.log1p(most) if most else 0.0
    return Markup(
        f'<svg class="bar" viewBox="0 0 {BAR_WIDTH} {BAR_HEIGHT}" preserveAspectRatio="none" aria-hidden="true" '
        f'focusable="false"><rect class="track" width="{BAR_WIDTH}" height="{BAR_HEIGHT}"/>'
        f'<rect class="fill" width="{width:.1f}" height="{BAR_HEIGHT}"/></svg>'
    )


def slopes(places: Sequence[tuple[int, int]]) -> Markup:
    """Lines from the places that items had before to those that they have after; a place is at its logarithm.

    Args:
        places: before and after, from 1 on; after ascends.
    """
    last = max((max(pair) for pair in places), default=1)
    left, right = SLOPE_TEXT, SLOPE_WIDTH - SLOPE_TEXT
    lines, labels = [], []
    for before, after in places:
        y = _down(before, last), _down(after, last)
        name = "up" if before > after else "down" if before < after else "level"
        lines.append(f'<path class="slope {name}" d="M{left} {y[0]:.1f}L{right} {y[1]:.1f}"/>')
    for side, anchor, x in ((0, "end", left - 6), (1, "start", right + 6)):
        room = -math.inf
        for place in sorted({pair[side] for pair in places}):
            y_of = _down(place, last)
            if y_of - room >= 10:  # labels that would lie on each other are left out
                room = y_of
                labels.append(f'<text x="{x}" y="{y_of + 3:.1f}" text-anchor="{anchor}">{place:,}</text>')
    return _svg("slopes", SLOPE_WIDTH, SLOPE_HEIGHT, "".join(lines + labels))


def moves(places: Sequence[tuple[int, int]], num_shown: int) -> Markup:
    """A dot for each candidate: its place by merged score across, its rank down, 1 at the top left.

    Args:
        places: place and rank, by rank.
        num_shown: the first ranks, which are shown.
    """
    count = max((max(pair) for pair in places), default=1)
    step = max(1, len(places) // MOST_DOTS)
    kept = [pair for rank, pair in enumerate(places) if rank < num_shown or rank % step == 0]
    span = DOTS - 2 * DOT_EDGE

    def at(value: int) -> str:
        return f"{DOT_EDGE + span * (value - 1) / max(count - 1, 1):.1f}"

    def dots(pairs: Sequence[tuple[int, int]], name: str) -> str:
        return f'<path class="dots {name}" d="{"".join(f"M{at(x)} {at(y)}h0" for x, y in pairs)}"/>'

    frame = f'<rect class="frame" x="1" y="1" width="{DOTS - 2}" height="{DOTS - 2}"/>'
    diagonal = f'<path class="diagonal" d="M{DOT_EDGE} {DOT_EDGE}L{DOTS - DOT_EDGE} {DOTS - DOT_EDGE}"/>'
    shown, others = kept[:num_shown], kept[num_shown:]
    return _svg("moves", DOTS, DOTS, frame + diagonal + dots(others, "other") + dots(shown, "shown"))


def _down(place: int, last: int) -> float:
    return SLOPE_EDGE + (SLOPE_HEIGHT - 2 * SLOPE_EDGE) * math.log(place) / math.log(max(last, 2))


def _svg(name: str, width: int, height: int, inside: str) -> Markup:
    return Markup(
        f'<svg class="{name}" viewBox="0 0 {width} {height}" aria-hidden="true" focusable="false">{inside}</svg>'
    )
