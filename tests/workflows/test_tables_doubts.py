"""Tables that can be used, and probably are not what was meant: the stage says so, and goes on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from workflows.core.run import Run
from workflows.features.config import FeaturesConfig, FeatureSpec
from workflows.shop.config import ShopConfig
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.stage import prepare_data

HOUR = 3600


def log(size: int = 400, num_users: int = 20) -> pd.DataFrame:
    rows = range(size)
    return pd.DataFrame(
        {
            "user": [k % num_users for k in rows],
            "item": [k % 7 for k in rows],
            "at": [1_700_000_000 + k * HOUR for k in rows],
        }
    )


def said_of(
    root: Path,
    capsys: pytest.CaptureFixture[str],
    events: pd.DataFrame,
    features: FeaturesConfig | None = None,
    **tables: pd.DataFrame,
) -> str:
    paths = {}
    for name, table in {"events": events, **tables}.items():
        table.to_parquet(root / f"{name}.parquet")
        paths[name] = str(root / f"{name}.parquet")
    context = [name for name in events.columns if name in ("device", "hour")]
    data = DataConfig(user_id="user", item_id="item", timestamp="at", context=context, **paths)
    prepare_data(Run(root / "run"), data, SplitConfig(), ShopConfig(), 3, features=features or FeaturesConfig())
    return " ".join(capsys.readouterr().err.split())


def test_nothing_is_said_of_usual_tables(tmp_path, capsys):
    users = pd.DataFrame({"user": range(20), "age": range(20)})
    features = FeaturesConfig(users={"age": FeatureSpec(kind="continuous")})
    said = said_of(tmp_path, capsys, log(), features, users=users)
    assert not any(words in said for words in ("tomorrow", "one user,", "is empty", "of the events are in"))


def test_events_of_years_to_come(tmp_path, capsys):
    events = log()
    events.loc[397:, "at"] = 4_102_444_800 + 1
    assert (
        "data: 3 events are later than tomorrow, the last at 2100-01-01 00:00:01: what is recent is counted back from "
        "there; correct 'at' if that is not meant"
    ) in said_of(tmp_path, capsys, events)


def test_numbers_that_are_an_order_are_no_years_to_come(tmp_path, capsys):
    assert "tomorrow" not in said_of(tmp_path, capsys, log().assign(at=range(400)))


def test_one_user_with_most_of_the_events(tmp_path, capsys):
    events = pd.concat([log(), log(3_000, 1).assign(user=77)])
    assert "data: one user, user = 77, has 3,000 of 3,400 events (88%); leave a robot" in said_of(
        tmp_path, capsys, events
    )


def test_a_feature_of_a_column_without_a_value(tmp_path, capsys):
    items = pd.DataFrame({"item": range(7), "kind": pd.Series([None] * 7, dtype="object"), "size": range(7)})
    features = FeaturesConfig(items={"kind": FeatureSpec(kind="categorical"), "size": FeatureSpec(kind="continuous")})
    said = said_of(tmp_path, capsys, log(), features, items=items.astype({"kind": "string"}))
    assert said.count("is empty in all rows") == 1
    assert "data: items: 'kind' is empty in all rows, so features.items.\"kind\" says nothing; drop it" in said


def test_users_who_have_other_ids_in_their_table(tmp_path, capsys):
    events = log().assign(user=[f"{k % 20}.0" for k in range(400)])
    said = said_of(tmp_path, capsys, events, users=pd.DataFrame({"user": [f"{k:04}" for k in range(20)]}))
    assert (
        "data: 0 of the 20 users of the events are in the users table, '0.0' is not and '0000' is: the others" in said
    )


def test_context_that_no_feature_reads(tmp_path, capsys):
    events = log().assign(device="phone", hour=[k % 24 for k in range(400)])
    features = FeaturesConfig(context={"hour": FeatureSpec(kind="categorical")})
    assert (
        "data: data.context names 'device', and [features.context] does not: no request can carry it, so add it"
    ) in said_of(tmp_path, capsys, events, features)
