"""From tables as people download them to a slate: what `cascade init` writes is run unchanged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ensemble.config_file import load_config
from runtime.chain import Chain
from scripts.run import all_stages
from tests.workflows.init.layouts import LAYOUTS
from workflows.core.run import Run
from workflows.init.find import find_out
from workflows.init.page import page
from workflows.init.roles import Given

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.mark.parametrize("layout", ["movielens_dat", "instacart"])
def test_tables_become_slates(tmp_path, monkeypatch, layout):
    monkeypatch.chdir(tmp_path)
    found = find_out(LAYOUTS[layout](tmp_path), Given(), Path("config_tables"))
    Path("config.toml").write_text(page(found, "config.toml", "cascade init TABLES"), encoding="utf-8")
    run = Run(Path("run"))
    all_stages(run, load_config(Path("config.toml"), []), None, force=False)
    chain = Chain(run.folder("repo") / "fused" / "cascade" / "1" / "chain")
    answer = chain.recommend({"user_id": np.array([[7], [60]], np.int64)})
    for slate, score, size in zip(answer["item_id"], answer["score"], answer["num_items"][:, 0], strict=True):
        items = slate[:size].tolist()
        assert items and len(set(items)) == len(items) and set(items) <= set(range(1, 41))
        assert np.all(np.diff(score[:size]) <= 0)
