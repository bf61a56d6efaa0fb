"""A warehouse whose driver is not installed, and configs that name a warehouse wrongly."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ensemble.config_file import load_config
from workflows.core.errors import ConfigError, SetupError
from workflows.core.run import Run
from workflows.shop.config import ShopConfig
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.stage import prepare_data

ABSENT = {
    "postgresql": ("adbc_driver_postgresql", "postgres"),
    "snowflake": ("adbc_driver_snowflake", "snowflake"),
    "bigquery": ("google.cloud.bigquery", "bigquery"),
}


@pytest.mark.parametrize("scheme", ABSENT)
def test_a_driver_that_is_not_here_names_its_extra(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, extra = ABSENT[scheme]
    monkeypatch.setitem(sys.modules, package, None)
    data = DataConfig(source=f"{scheme}://ann:s3cret@db/shop", events="shop.events", timestamp="at")
    with pytest.raises(SetupError, match=rf"^data.source: reading .* needs .*; install the extra '{extra}'$") as caught:
        prepare_data(Run(tmp_path / "run"), data, SplitConfig(), ShopConfig(), 5)
    assert "s3cret" not in str(caught.value)
    assert not (tmp_path / "run").exists()


URL = "postgresql://ann:s3cret@db/shop"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.source=mysql://ann:s3cret@db"], "data.source must be 'shop', 'tables' or the URL of a warehouse"),
        (["data.source=mysql://ann:s3cret@db"], "got 'mysql://'"),
        ([f"data.events={URL}"], "data.events is the URL of a warehouse: set data.source to it"),
        ([f"data.source=['{URL}']"], "data.source: expected `str`, got \\['postgresql://\\*\\*\\*'\\]"),
        ([f"data='{URL}'"], "data: expected `object`, got 'postgresql://\\*\\*\\*'"),
        ([URL], "--set postgresql://\\*\\*\\*: expected section.key=value"),
        ([f"data.source={URL}", "data.events=t", "split.by=leave_last_out"], "a warehouse, whose rows have no order"),
        (
            [f"data.source={URL}", "data.events=t", "data.timestamp=at", "shop.seed=1"],
            "since data.source = 'postgresql://ann@db/shop'",
        ),
        ([f"data.source={URL}", "data.timestamp=at"], "data.events is missing"),
        (
            ["data.source=postgresql://ann:s3cret/x@db"],
            "data.source: the URL of the warehouse cannot be read; expected",
        ),
    ],
)
def test_configs_that_cannot_work(tmp_path: Path, overrides: list[str], message: str) -> None:
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(tmp_path / "config.toml", overrides)
    assert "s3cret" not in str(caught.value)
