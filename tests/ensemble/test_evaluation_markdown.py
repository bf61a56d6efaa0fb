"""The tables of a report: a difference inside its interval is a tie."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from ensemble.evaluation.console_table import console_tables
from ensemble.evaluation.markdown import baseline_table, difference_table, report_text
from ensemble.evaluation.metrics_file import read_metrics
from ensemble.evaluation.tables import outcome
from scripts.tables import tables
from workflows.core.artefacts import Manifest, write_manifest
from workflows.core.errors import ArtefactError


def estimate(value, half=0.01):
    return {"value": value, "low": value - half, "high": value + half}


def test_a_difference_whose_interval_holds_zero_is_a_tie():
    assert [outcome(estimate(value)) for value in (0.02, 0.005, -0.01, -0.02)] == ["win", "tie", "tie", "loss"]
    metrics = {"cutoffs": [10], "chain_minus": {"ease": {"recall@10": estimate(0.02)}, "retrieval": {}}}
    assert difference_table(metrics, "chain", ["recall@10"]).splitlines() == [
        "| Full chain minus | recall@10 |",
        "|---|---:|",
        "| EASE | +0.0200 (+0.0100 to +0.0300) win |",
        "| Retrieval alone | - |",
    ]


@pytest.mark.parametrize("num_sources", [4, 9])
@pytest.mark.parametrize("by_chance", [False, True])
def test_the_console_tables_fit_80_columns_with_every_number_whole(num_sources, by_chance):
    names = ["popularity", "item_knn", "retrieval", "chain", "bm25_knn", "rp3beta", "als", "bpr", "ease"][:num_sources]
    metrics = {
        "cutoffs": [10, 20, 100],
        "data": {"num_users_measured": 7},
        "sources": {
            source: {f"{name}@{k}": estimate(0.1 + place / 1000) for name in ("recall", "ndcg") for k in (10, 20, 100)}
            | {"share_of_best@10": estimate(0.5)}
            for place, source in enumerate(names)
        },
    }
    if by_chance:
        recall = {source: {"recall@100": estimate(0.3 + k / 1000)} for k, source in enumerate(names)}
        counts = {"num_positive": 12_345, "num_displays": 234_567, "num_users": 12_000}
        metrics["random_display"] = {"sources": recall, "drawn": {"recall@100": 0.0211}, **counts}
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(*console_tables(metrics))
    text = console.export_text()
    if by_chance:
        assert "0.0211" in text
        assert all(f"{0.3 + place / 1000:.4f}" in text for place in range(num_sources))
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert all(f"{0.1 + place / 1000:.4f}" in text for place in range(num_sources))


def baseline(**fields):
    blank = {"skipped": None, "picked": {}, "trials": [], "ended": True, "tuning_seconds": 0.0, "fit_seconds": 0.0}
    return blank | fields


def test_the_baseline_table_shows_what_was_picked_and_what_was_skipped_and_leaves_out_the_untuned():
    baselines = {
        "popularity": baseline(),
        "ease": baseline(picked={"l2": 200.0}, trials=[{}, {}], ended=False, tuning_seconds=12.3, fit_seconds=3.14),
        "als": baseline(skipped="als needs the package implicit"),
    }
    assert baseline_table(baselines).splitlines()[2:] == [
        "| EASE | l2 = 200.0 | 2 (budget) | 12 | 3.1 |",
        "| implicit ALS | als needs the package implicit | - | - | - |",
    ]
    assert baseline_table({"popularity": baseline()}) == ""


def test_the_text_of_a_report_has_all_its_tables():
    values = {f"{name}@10": estimate(0.3) for name in ("recall", "ndcg")}
    metrics = {
        "cutoffs": [10],
        "data": {"num_users_measured": 1234},
        "sources": {"ease": values, "chain": values},
        "chain_minus": {"ease": values},
        "baselines": {"ease": baseline(picked={"l2": 200.0}, trials=[{}])},
        "ranker": {"skipped": "No rows."},
    }
    text = report_text("books", metrics)
    assert text.startswith("### books: 1,234 test users\n\n| source |")
    assert [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")] == [
        *("source", "EASE", "Full chain"),
        *("Full chain minus", "EASE"),
        *("tuned on valid", "EASE"),
    ]


def test_the_tables_of_a_report_of_an_older_release_are_those_of_today(tmp_path, capsys):
    """Format 1 named the baselines "peers", in the report and in its record of the ranker."""
    values = {f"{name}@10": estimate(0.3) for name in ("recall", "ndcg")}
    tuned = baseline(picked={"l2": 200.0}, trials=[{}])
    lightgbm = baseline(picked={"num_leaves": 7}) | {"auc": 0.7, "logloss": 0.6}
    ranker = {"minus": {"lightgbm": {"auc": estimate(0.1), "logloss": estimate(-0.1)}}}
    shared = {
        "cutoffs": [10],
        "data": {"num_users_measured": 1234},
        "sources": {"ease": values, "chain": values},
        "chain_minus": {"ease": values},
    }
    printed = []
    for name in ("peers", "baselines"):
        folder = tmp_path / name / "run" / "report"
        folder.mkdir(parents=True)
        metrics = shared | {name: {"ease": tuned}, "ranker": ranker | {name: {"lightgbm": lightgbm}}}
        (folder / "metrics.json").write_text(json.dumps(metrics))
        write_manifest(folder, Manifest("report", "0" * 64, "2026-01-01T00:00:00+00:00", {}, {}, []))
        tables([folder.parent], [])
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "| EASE | l2 = 200.0 | 1 | 0 | 0.0 |" in printed[0]
    assert "| LightGBM | num_leaves = 7 | 0.7000 | 0.6000 | +0.1000" in printed[0]
    tables([folder.parent], ["ndcg@10"], json=True)
    found = json.loads(capsys.readouterr().out)[str(folder.parent)]
    assert found["sources"]["ease"] == {"ndcg@10": values["ndcg@10"]} and found["baselines"]["ease"] == tuned


def test_a_report_that_cannot_be_read_is_one_sentence(tmp_path):
    (tmp_path / "metrics.json").write_text("[1]")
    with pytest.raises(ArtefactError, match=r"metrics.json cannot be read .*; run `cascade evaluate --force`"):
        read_metrics(tmp_path)
