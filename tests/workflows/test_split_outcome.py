"""Splits with an empty part or without positives: refused or said, with a way out that their kind of split has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workflows.core.errors import DataError
from workflows.core.run import Run
from workflows.shop.config import ShopConfig
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.stage import prepare_data


def rows_of(root: Path, events: pd.DataFrame, split: SplitConfig, **columns: object) -> dict[str, int]:
    """Rows of every split after the stage."""
    events.to_parquet(root / "events.parquet")
    data = DataConfig(events=str(root / "events.parquet"), user_id="user", item_id="item", timestamp="at", **columns)
    manifest = prepare_data(Run(root / "run"), data, split, ShopConfig(), 3)
    return manifest.info["rows"]


def log(size: int, *, users: int = 1, step: int = 1) -> pd.DataFrame:
    n = np.arange(size)
    return pd.DataFrame({"user": n % users, "item": n % 7, "at": 1000 + step * n})


@pytest.mark.parametrize(
    ("events", "split", "empty", "why"),
    [
        (
            log(3),
            SplitConfig(),
            "test",
            "since split.test_fraction = 0.1 of 3 events is none: nothing",
        ),
        (log(20), SplitConfig(valid_fraction=0.01), "valid", "since split.valid_fraction = 0.01 of 20 events is none"),
        (log(20, users=20), SplitConfig(by="leave_last_out"), "valid", "since no user has three events: settings keep"),
        (log(20, users=20), SplitConfig(by="leave_last_out"), "test", "since no user has three events: nothing will"),
        (
            log(20).assign(part="train"),
            SplitConfig(by="column", column="part", valid_fraction=0),
            "valid",
            "since no event has 'part' = 'valid' and split.valid_fraction = 0: settings keep their defaults",
        ),
        (
            log(20).assign(split="train"),
            SplitConfig(by="column"),
            "test",
            "since no event has 'split' = 'test': n",
        ),
        (
            log(5, users=5).assign(split="train"),
            SplitConfig(by="column"),
            "valid",
            "= 'valid' and no user has train events enough to hold some out",
        ),
    ],
)
def test_an_empty_split_is_said_with_its_reason(tmp_path, capsys, events, split, empty, why):
    assert rows_of(tmp_path, events, split)[empty] == 0
    said = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith(f"data: the {empty} split is empty,")
    ]
    assert len(said) == 1 and why in said[0]


@pytest.mark.parametrize(
    ("events", "split", "advice"),
    [
        (log(9, step=0), SplitConfig(), "too many events are of one instant .* name a finer data.timestamp, or use"),
        (
            log(9).assign(split="test"),
            SplitConfig(by="column"),
            "got 0 train, 0 valid, 9 test; give events 's",
        ),
    ],
)
def test_a_split_without_train_events_is_refused_with_what_helps(tmp_path, events, split, advice):
    with pytest.raises(DataError, match=rf"events: expected train events after the split by .*{advice}"):
        rows_of(tmp_path, events, split)


def test_a_log_without_positives_is_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(DataError, match=r"label 'click' must be 1 somewhere in the train split, got 0 of 80 ev"):
        rows_of(tmp_path, log(100).assign(click=0), SplitConfig(), labels=["click"])


def test_positives_that_begin_after_train_are_refused_with_where_they_are(tmp_path):
    events = log(100).assign(click=(np.arange(100) >= 85).astype(int))
    with pytest.raises(DataError, match=r"got 0 of 80 events \(5 of 10 in valid, 10 of 10 in test\); nothing"):
        rows_of(tmp_path, events, SplitConfig(), labels=["click"])


def test_a_log_of_positives_alone_is_split_as_usual(tmp_path):
    rows = rows_of(tmp_path, log(100).assign(click=1), SplitConfig(), labels=["click"])
    assert rows == {"train": 80, "valid": 10, "test": 10}


def test_items_of_which_the_table_knows_none_are_refused_also_where_unknown_ones_are_dropped(tmp_path):
    pd.DataFrame({"item": np.arange(100, 107)}).to_parquet(tmp_path / "items.parquet")
    with pytest.raises(DataError, match=r"column 'item' must name items of the items table, got unknown items in all"):
        rows_of(tmp_path, log(20), SplitConfig(), items=str(tmp_path / "items.parquet"), unknown_items="drop")
    with pytest.raises(DataError, match=r"got unknown items in all 20 rows, .*; correct data.item_id or the tables$"):
        rows_of(tmp_path, log(20), SplitConfig(), items=str(tmp_path / "items.parquet"))


@pytest.mark.parametrize(
    ("ids", "known", "number"),
    [
        ([f"{k}" for k in range(1, 8)], [f"{k:06}" for k in range(1, 8)], 20),
        ([f" {k:06} " for k in range(1, 8)], [f"{k:06}" for k in range(1, 8)], 20),
        (["1.0", "2", "3", "4", "5", "6", "7"], [f"{k}" for k in range(1, 8)], 3),
    ],
)
def test_items_that_differ_in_zeros_and_blanks_alone_are_named_as_such(tmp_path, ids, known, number):
    events = log(20).assign(item=[ids[k % 7] for k in range(20)])
    pd.DataFrame({"item": known}).to_parquet(tmp_path / "items.parquet")
    differ = rf"; {number} of them differ from an item in leading zeros, blanks or '.0' alone, such as '{ids[0]}'"
    with pytest.raises(DataError, match=differ + rf" and '{known[0]}': write the ids alike in both tables$"):
        rows_of(tmp_path, events, SplitConfig(), items=str(tmp_path / "items.parquet"))
