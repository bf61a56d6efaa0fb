"""The whole chain on tables of which some part is missing: nothing to validate on, nothing to measure, next to nothing.

Each is trained, reported and exported, and the export equals brute force; what could not be done is said.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ensemble.config_file import load_config
from scripts.run import all_stages
from workflows.core.run import Run

pytestmark = [pytest.mark.slow, pytest.mark.long]

SETTINGS = """
[data]
events = "EVENTS"
user_id = "user"
item_id = "item"
timestamp = "at"
{data}
[split]
{split}
[retrieval]
embedding_dim = 4
hidden = [8]
[retrieval.windows]
max_epochs = 1
[neighbours]
l2 = [50.0]
walk_powers = [0.3]
tower_shares = [0.5]
[ranking]
embedding_dim = 4
top = [8]
max_epochs = 1
[chain]
num_candidates = 20
slate_size = 3
max_slate_size = 20
layouts = ["fused"]
[evaluate]
cutoffs = [10]
num_bootstrap = 20
"""


def run_chain(root: Path, events: pd.DataFrame, *, data: str = "", split: str = "") -> dict:
    """All stages; what metrics.json says."""
    events.to_parquet(root / "events.parquet")
    settings = SETTINGS.format(data=data, split=split).replace("EVENTS", str(root / "events.parquet"))
    (root / "run.toml").write_text(settings)
    run = Run(root / "run")
    all_stages(run, load_config(root / "run.toml", []), None, force=False)
    assert (run.folder("repo") / "fused" / "cascade").is_dir()
    text = (run.folder("report") / "metrics.json").read_text()
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def log(size: int, num_users: int, num_items: int) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    n = np.arange(size)
    return pd.DataFrame({"user": n % num_users, "item": rng.integers(0, num_items, size), "at": 1000 + n})


def test_three_events_make_a_chain_without_anything_to_choose_or_measure_by(tmp_path, capsys):
    events = pd.DataFrame({"user": [1, 2, 2], "item": [5, 6, 6], "at": [1, 2, 3]})
    metrics = run_chain(tmp_path, events)
    said = capsys.readouterr().err
    assert "all 1 positives of the valid split that are of the catalogue are of items that their user had, so" in said
    assert "the latest train positive of each user is taken instead" in said
    assert "data: the test split is empty, since split.test_fraction = 0.1 of 3 events is none" in said
    assert metrics["unmeasured"] in said and metrics["sources"]["chain"]["recall@10"]["value"] is None


def test_one_user_who_has_had_everything_makes_a_chain_of_empty_slates_that_are_said(tmp_path, capsys):
    metrics = run_chain(tmp_path, log(60, 1, 4))
    said = capsys.readouterr().err
    assert "1 of 1 users have had every item that may be shown, so their slates are empty" in said
    assert "ranking: nothing is left to hold out and stop by: 1 epochs are run" in said
    assert "user-item pairs are of items that their user had before" in metrics["unmeasured"]


def test_impressions_without_a_valid_split_and_without_a_label_in_test(tmp_path, capsys):
    events = log(200, 12, 15)
    events["click"] = (events["item"] % 2) * (events["at"] < 1170)
    events["split"] = np.where(events["at"] < 1170, "train", "test")
    split = 'by = "column"\nvalid_fraction = 0'
    metrics = run_chain(tmp_path, events, data='labels = ["click"]', split=split)
    said = capsys.readouterr().err
    assert "retrieval: the valid split is empty, so no epoch can be told from another: 1 are run" in said
    assert "ranking: nothing is left to hold out and stop by: 1 epochs are run" in said and "nan" not in said
    assert "none of the 30 test events has click = 1" in metrics["unmeasured"]
    assert "one label value only" in metrics["ranker"]["skipped"]


def test_two_users_of_two_items_are_measured(tmp_path, capsys):
    events = pd.DataFrame({"user": [1, 2] * 3, "item": [5, 6, 5, 6, 6, 5], "at": range(6)})
    metrics = run_chain(tmp_path, events, split='by = "leave_last_out"')
    assert metrics["data"]["num_users"] == metrics["data"]["num_items"] == 2
    assert "a slate of 10 holds all 2 items that may be shown" in capsys.readouterr().err
