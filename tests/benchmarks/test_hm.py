"""Made-up tables of the H&M schema: the same bytes for a seed, and configs/hm.toml reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.hm.write import write_tables
from ensemble.config_file import load_config
from workflows.core.run import Run
from workflows.tables.stage import prepare_data

CONFIG = Path(__file__).parents[2] / "configs" / "hm.toml"
FILES = ("articles.csv", "customers.csv", "transactions_train.csv")


def test_a_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_tables(tmp_path / name, 0.0005, seed)
    for file in FILES:
        first, again, other = ((tmp_path / name / file).read_bytes() for name in "abc")
        assert first == again != other


def test_the_recipe_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_tables(Path("hm"), 0.0005)
    config = load_config(CONFIG)
    prepare_data(Run(Path("run")), config.data, config.split, config.shop, 5, features=config.features)
    items = pq.read_table("run/data/items.parquet")
    users = pq.read_table("run/data/users.parquet")
    assert {text[0] for text in items["article_id"].to_pylist()} == {"0"}
    assert {len(text) for text in items["article_id"].to_pylist()} == {10}
    assert set(config.features.items) <= set(items.column_names)
    assert set(config.features.users) <= set(users.column_names)
    assert np.load("run/data/ids/users.npy").dtype == "S64"
