"""A test split in which nothing is relevant to anybody: the stage ends well, says why, and its numbers are null."""

from __future__ import annotations

import json
import re

import msgspec
import pyarrow.parquet as pq
import pytest

from ensemble.config import ChainConfig
from ensemble.evaluation.markdown import report_text
from ensemble.evaluation.queries import load_queries
from ensemble.evaluation.stage import evaluate, print_summary
from ensemble.evaluation.unmeasured import why_unmeasured
from models.dataset.features import load_state
from tests.ensemble.synthetic import make_run
from tests.ensemble.test_evaluation import add_split, make_evaluated_run
from workflows.tables.config import SplitConfig

NOTHING = {"user_row": [], "item_row": [], "click": []}


def reason(tmp_path, events, *, split=None, filter_seen=True):
    run, config = make_run(tmp_path / "r", chain=ChainConfig(filter_seen=filter_seen))
    add_split(run, "test", events)
    config = msgspec.structs.replace(config, split=split or SplitConfig())
    return why_unmeasured(config, load_queries(run, config, load_state(run, "eval")))


@pytest.mark.parametrize(
    ("split", "advice"),
    [
        (SplitConfig(), r"raise split\.test_fraction \(now 0\.1\)\."),
        (SplitConfig(by="leave_last_out"), "users of three events or more; give more events, or use 'time'"),
        (SplitConfig(by="column", column="part"), "give such events 'part' = 'test'"),
        (SplitConfig(by="files", train="a", test="b"), r"give such events in split\.test\."),
    ],
)
def test_an_empty_test_split_is_said_with_what_its_kind_of_split_needs(tmp_path, split, advice):
    said = reason(tmp_path, NOTHING, split=split)
    assert said.startswith("No slate could be judged: the test split is empty; ")
    assert re.search(advice, said)


def test_a_test_split_without_the_label_is_said_by_name(tmp_path):
    said = reason(tmp_path, {"user_row": [3, 4], "item_row": [7, 8], "click": [0.0, 0.0]})
    assert "none of the 2 test events has click = 1" in said
    assert "evaluate.relevant_label" in said


def test_items_outside_the_catalogue_are_said(tmp_path):
    said = reason(tmp_path, {"user_row": [3], "item_row": [-1], "click": [1.0]})
    assert (
        "of the 1 positive test events 1 are of items outside the catalogue; name the catalogue in data.items" in said
    )


def test_pairs_had_before_are_said_where_the_chain_filters_them_and_measured_where_not(tmp_path):
    run, _ = make_run(tmp_path / "seen")
    had = int(load_state(run, "eval").seen(3)[0])
    events = {"user_row": [3, 3], "item_row": [had, had], "click": [1.0, 1.0]}
    said = reason(tmp_path / "a", events)
    assert "of the 2 positive test events 1 user-item pairs are of items that their user had before" in said
    assert "set chain.filter_seen = false" in said and "data.items" not in said
    both = {"user_row": [3, 3], "item_row": [had, -1], "click": [1.0, 1.0]}
    assert "data.items" in (said := reason(tmp_path / "b", both)) and "chain.filter_seen" in said
    assert reason(tmp_path / "c", events, filter_seen=False) is None


def test_the_stage_ends_well_and_its_numbers_are_null(tmp_path, monkeypatch, capsys):
    skipped = {"skipped": "The ranker cannot be measured: no rows."}
    monkeypatch.setattr("ensemble.evaluation.ranker_rows.ranker_quality", lambda run, config: skipped)
    events = {"user_row": [3], "item_row": [7], "click": [0.0]}
    run, config = make_evaluated_run(tmp_path / "r", events=events)
    info = evaluate(run, config).info
    assert info["num_users"] == 0 and set(info["recall@5"].values()) == {None}
    text = (run.folder("report") / "metrics.json").read_text()
    metrics = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert list(metrics["sources"]) == ["popularity", "item_knn", "retrieval", "chain"]
    for values in metrics["sources"].values():
        assert all(cell == {"value": None, "low": None, "high": None} for cell in values.values())
    assert "none of the 1 test events has click = 1" in metrics["unmeasured"]
    page = (run.folder("report") / "index.html").read_text()
    assert "none of the 1 test events has click = 1" in page and skipped["skipped"] in page and "nan" not in page
    assert pq.read_table(run.folder("report") / "recommendations.parquet").num_rows == 0
    said = capsys.readouterr().err
    assert metrics["unmeasured"] in said and skipped["skipped"] in said and "Full chain" not in said
    print_summary(run.root)
    assert metrics["unmeasured"] in capsys.readouterr().err
    assert metrics["unmeasured"] in report_text("r", metrics)
