"""Drawings are where their numbers are."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from console import charts


def test_a_bar_is_as_long_as_its_count_is_large() -> None:
    widths = [
        float(re.findall(r'class="fill" width="([\d.]+)"', charts.bar(count, 1000))[0]) for count in (0, 10, 1000)
    ]
    assert widths[0] == 0 and 0 < widths[1] < widths[2] == charts.BAR_WIDTH
    assert 'width="0.0"' in charts.bar(0, 0)


def test_slopes_go_up_and_down_and_every_drawing_is_well_formed() -> None:
    drawn = charts.slopes([(5, 1), (2, 2), (1, 3)])
    assert [path.get("class") for path in ElementTree.fromstring(drawn).iter("path")] == [
        "slope up",
        "slope level",
        "slope down",
    ]
    for each in (drawn, charts.slopes([]), charts.moves([], 0), charts.moves([(1, 1)], 1), charts.bar(3, 4)):
        ElementTree.fromstring(each)


def test_of_many_candidates_those_of_the_slate_are_all_drawn() -> None:
    places = [(rank, rank) for rank in range(1, 5001)]
    shown, others = (
        re.findall(rf'class="dots {name}" d="([^"]*)"', charts.moves(places, 20)) for name in ("shown", "other")
    )
    assert shown[0].count("M") == 20
    assert 0 < others[0].count("M") <= charts.MOST_DOTS + charts.MOST_DOTS // 2
