"""Rows that are kinds of events, and rows that are displays with what became of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workflows.core.errors import DataError
from workflows.core.run import Run
from workflows.shop.config import ShopConfig
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.info import DataInfo
from workflows.tables.stage import prepare_data

RANDOM = np.random.default_rng(7)
NUM_PAIRS = 120
PAIRS = pd.DataFrame({"user_id": np.arange(NUM_PAIRS) // 6, "item_id": np.arange(NUM_PAIRS) % 6})
BOUGHT = RANDOM.random(NUM_PAIRS) < 0.3
# Every item that somebody bought was viewed by them before; not every view ends in a purchase.
KINDS = pd.concat(
    [PAIRS.assign(event="view", code=1, view=1, buy=0), PAIRS[BOUGHT].assign(event="buy", code=4, view=0, buy=1)]
)
# The same, where a purchase is a flag of the display.
DISPLAYS = PAIRS.assign(event=np.where(BOUGHT, "taken", "left"), buy=BOUGHT.astype(int), view=1)
# Each item was shown to each user three times, and taken once at most.
AGAIN = pd.concat([DISPLAYS, DISPLAYS.assign(event="left", buy=0), DISPLAYS.assign(event="left", buy=0)])


def of_kinds(root: Path, events: pd.DataFrame, labels: Any, csv: bool = False, **more: Any) -> bool:
    path = root / ("events.csv" if csv else "events.parquet")
    if csv:
        events.to_csv(path, index=False)
    else:
        events.to_parquet(path)
    run = Run(root / "run")
    data = DataConfig(events=str(path), labels=labels, **more)
    prepare_data(run, data, SplitConfig(valid_fraction=0.1, test_fraction=0.1), ShopConfig(), 3)
    return DataInfo.load(run.folder("data")).of_kinds


@pytest.mark.parametrize("csv", [False, True])
@pytest.mark.parametrize(
    "labels",
    [
        {"bought": "event == 'buy'"},
        {"seen": "event != 'buy'"},
        {"bought": "event == 'buy'", "viewed": "event == 'view'"},
        {"bought": "code == 4"},
        {"viewed": "code == 1", "bought": "code == 4"},
        {"viewed": "code == 1"},
        {"other": "code != 1"},
        {"bought": "minus == -4"},
        ["buy", "view"],
        ["view", "buy"],
    ],
)
def test_a_purchase_after_a_view_is_an_event_of_its_own(tmp_path, labels, csv):
    assert of_kinds(tmp_path, KINDS.assign(minus=-KINDS.code), labels, csv)


@pytest.mark.parametrize(
    ("events", "labels"),
    [
        (DISPLAYS, {"taken": "event == 'taken'"}),  # one row a pair
        (DISPLAYS, ["buy", "view"]),
        (AGAIN, ["buy", "view"]),  # a row of both
        (AGAIN, ["buy"]),
        (AGAIN, {"bought": "buy == 1"}),
        (AGAIN, {"bought": "buy == 1", "left": "buy == 0"}),
        (AGAIN.assign(code=4), {"bought": "buy == 1", "other": "code == 1"}),
        (AGAIN.assign(vote=2 * AGAIN.buy - 1), {"liked": "vote == 1"}),
        (AGAIN.assign(buy=AGAIN.buy.astype(bool)), {"bought": "buy == 1"}),
        (AGAIN.assign(buy=AGAIN.buy.where(AGAIN.index % 7 > 0)), {"bought": "buy == 1"}),
        (AGAIN.assign(device="mobile"), {"bought": "buy == 1", "mobile": "device == 'mobile'"}),
        (AGAIN.assign(buy=AGAIN.buy.map({0: "no", 1: "yes"})), {"bought": "buy == 'yes'"}),
        (PAIRS.assign(rating=RANDOM.integers(1, 6, NUM_PAIRS)), {"liked": "rating >= 4", "disliked": "rating < 4"}),
        (PAIRS.assign(rating=RANDOM.integers(1, 6, NUM_PAIRS)), {"loved": "rating == 5"}),
        (KINDS, []),
        (KINDS[:NUM_PAIRS], {"bought": "event == 'view'"}),  # one value
    ],
)
def test_displays_and_ratings_are_none(tmp_path, events, labels):
    assert not of_kinds(tmp_path, events, labels)


@pytest.mark.parametrize("labels", [{"bought": "event == 'buy'"}, {"reacted": "event != 'Item-Impression'"}])
def test_a_kind_that_says_shown_makes_the_rows_displays(tmp_path, labels):
    shown = KINDS.assign(event=KINDS.event.replace("view", "Item-Impression"))
    assert not of_kinds(tmp_path, shown, labels)


@pytest.mark.parametrize("kind", ["show_details", "display cart", "tv show opened"])
def test_who_shows_details_has_reacted(tmp_path, kind):
    assert of_kinds(tmp_path, KINDS.assign(event=KINDS.event.replace("view", kind)), {"bought": "event == 'buy'"})


@pytest.mark.parametrize("kind", ["shown", "item_show", "Show item", "displayed", "display", "ad_exposure", "shows"])
def test_words_of_kinds_that_were_only_shown(tmp_path, kind):
    assert not of_kinds(tmp_path, KINDS.assign(event=KINDS.event.replace("view", kind)), {"bought": "event == 'buy'"})


def test_another_column_with_displays_among_its_values_says_nothing(tmp_path):
    events = KINDS.assign(slot=np.where(KINDS.item_id % 2, "display", "search"))
    assert of_kinds(tmp_path, events, {"bought": "event == 'buy'", "searched": "slot == 'search'"})


def test_a_message_shows_the_columns_of_the_table_alone(tmp_path):
    pd.DataFrame({"item_id": [0, 1, 2, 3, 4]}).to_parquet(tmp_path / "items.parquet")
    with pytest.raises(DataError, match=r"\(user_id = 0, item_id = 5, bought = (True|False)\)"):
        of_kinds(tmp_path, KINDS, {"bought": "event == 'buy'"}, items=str(tmp_path / "items.parquet"))


@pytest.mark.parametrize(("key", "value"), [("position", 1), ("propensity", 0.5)])
def test_a_position_or_a_propensity_says_that_rows_are_displays(tmp_path, key, value):
    assert not of_kinds(tmp_path, KINDS.assign(given=value), {"bought": "event == 'buy'"}, **{key: "given"})


@pytest.mark.parametrize("user", [0, 6])
def test_a_sample_of_the_pairs_decides_where_rows_are_many(tmp_path, monkeypatch, user):
    monkeypatch.setattr("workflows.tables.kinds.SAMPLE_ROWS", 60)
    assert of_kinds(tmp_path, KINDS, {"bought": "event == 'buy'"})
    (tmp_path / "one").mkdir()
    alone = KINDS.assign(user_id=user, item_id=6 * KINDS.user_id + KINDS.item_id)
    assert of_kinds(tmp_path / "one", alone, {"bought": "event == 'buy'"})
