"""Pairs of items outside the catalogue are misses of everybody, counted beside the figures over the catalogue."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ensemble.evaluation.all_pairs import measure_all_pairs
from ensemble.evaluation.console_table import console_tables
from ensemble.evaluation.markdown import report_text
from ensemble.evaluation.measure import Slates
from ensemble.evaluation.queries import Queries, load_queries
from ensemble.evaluation.stage import evaluate
from ensemble.evaluation.verdict import outside_sentence
from models.dataset.features import load_state
from models.metrics.bootstrap import Resamples
from models.metrics.ranking import per_user
from tests.ensemble.synthetic import sign_again
from tests.ensemble.test_evaluation import add_split, make_evaluated_run, metrics_of, random_events
from workflows.tables.split import OUTSIDE


def number_the_items_outside(run, numbers):
    """Write the column that prepare writes."""
    part = next((run.folder("data") / "test").glob("*.parquet"))
    table = pq.read_table(part)
    pq.write_table(table.append_column(OUTSIDE, pa.array(numbers, pa.int64())), part)
    sign_again(run)


def test_items_that_no_slate_can_hold_count_as_relevant():
    slates, indptr, rows = np.array([[4, 7, 1], [2, 3, 5]]), np.array([0, 2, 3]), np.array([4, 9, 3])
    found = per_user(slates, indptr, rows, [2], unreachable=np.array([2, 0]))
    assert found["recall@2"].tolist() == [1 / 4, 1.0]
    assert found["capped_recall@2"].tolist() == [1 / 2, 1.0]
    gain = 1 / np.log2(3)
    np.testing.assert_allclose(found["ndcg@2"], [1 / (1 + gain), gain])
    assert found["hit_rate@2"].tolist() == [1.0, 1.0]


def test_users_with_nothing_else_have_zero():
    facts = {
        "num_relevant_pairs": 3,
        "num_relevant_pairs_outside_catalogue": 5,
        "num_users_with_relevant_items_only_outside": 2,
        "num_users_with_relevant_items": 2,
    }
    nothing = np.zeros(2, np.int64)
    outside = np.array([1, 0])
    queries = Queries(np.array([3, 8]), np.array([0, 1, 3]), np.array([4, 5, 9]), nothing, {}, facts, outside=outside)
    slates = {
        "chain": Slates("chain", np.array([[4, 5], [5, 9]], np.int32), np.zeros((2, 2), np.float32), 1.0),
        "popularity": Slates("popularity", np.array([[1, 2], [5, 1]], np.int32), np.zeros((2, 2), np.float32), 1.0),
    }
    record = measure_all_pairs(slates, queries, [2], Resamples(50, 1))
    assert (record["num_pairs"], record["num_outside"], record["share_outside"]) == (8, 5, 5 / 8)
    assert record["num_users"] == 4
    assert record["sources"]["chain"]["recall@2"]["value"] == pytest.approx((1 / 2 + 1 + 0 + 0) / 4)
    assert record["sources"]["popularity"]["recall@2"]["value"] == pytest.approx((0 + 1 / 2) / 4)
    assert record["chain_minus"]["popularity"]["recall@2"]["value"] == pytest.approx(1.0 / 4)


def test_distinct_pairs_outside_are_counted_by_user(tmp_path):
    run, config = make_evaluated_run(tmp_path / "r")
    state = load_state(run, "eval")
    fresh = next(row for row in range(300) if row not in set(state.seen(5).tolist()))
    events = {
        "user_row": [5, 5, 5, 5, 5, 9, 9, 11],
        "item_row": [fresh, -1, -1, -1, -1, -1, -1, -1],
        "click": [1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0],
    }
    add_split(run, "test", events)
    number_the_items_outside(run, [None, 0, 0, 1, 2, 0, 0, 3])
    queries = load_queries(run, config, state)
    assert queries.user_rows.tolist() == [5]
    assert queries.outside.tolist() == [2]
    assert queries.facts["num_relevant_pairs"] == 1
    assert queries.facts["num_relevant_pairs_outside_catalogue"] == 3
    assert queries.facts["num_users_with_relevant_items_only_outside"] == 1


@pytest.mark.long
def test_the_report_says_the_share_and_holds_both_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ensemble.evaluation.ranker_rows.ranker_quality", lambda run, config: {"skipped": "No rows."})
    events = random_events(1)
    numbers = [i % 40 if i % 5 == 0 else None for i in range(len(events["user_row"]))]
    events["item_row"] = [row if n is None else -1 for row, n in zip(events["item_row"], numbers, strict=True)]
    run, config = make_evaluated_run(tmp_path / "r", events=events)
    number_the_items_outside(run, numbers)
    evaluate(run, config)
    metrics = metrics_of(run)
    record = metrics["all_pairs"]
    assert 0.1 < record["share_outside"] < 0.3
    assert record["sources"]["chain"]["recall@20"]["value"] < metrics["sources"]["chain"]["recall@20"]["value"]
    sentence = outside_sentence(metrics)
    assert f"{record['share_outside']:.1%}" in sentence
    assert "Over all pairs the chain's recall@5 is" in sentence
    page = (run.folder("report") / "index.html").read_text()
    assert "Over all pairs" in page
    assert sentence.split(" (")[0] in page
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert len(console_tables(metrics)) == 2
    assert "| over all pairs (" in report_text("r", metrics)


def test_without_such_pairs_nothing_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("ensemble.evaluation.ranker_rows.ranker_quality", lambda run, config: {"skipped": "No rows."})
    run, config = make_evaluated_run(tmp_path / "r")
    number_the_items_outside(run, [None] * 600)
    evaluate(run, config)
    metrics = metrics_of(run)
    assert metrics["all_pairs"]["num_outside"] == 0
    assert outside_sentence(metrics) == ""
    assert "Over all pairs" not in (run.folder("report") / "index.html").read_text()
