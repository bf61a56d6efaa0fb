"""Several runs of one setting: mean, range and every difference."""

from __future__ import annotations

from ensemble.evaluation.spread import spread_table


def _metrics(**values: float) -> dict:
    sources = {name: {"recall@10": {"value": value, "low": 0.0, "high": 1.0}} for name, value in values.items()}
    return {"cutoffs": [10], "sources": sources}


def test_means_ranges_and_signs_are_those_of_the_runs() -> None:
    runs = {"a": _metrics(retrieval=0.30, chain=0.32), "b": _metrics(retrieval=0.31, chain=0.30)}
    assert spread_table(runs, ["recall@10"]).splitlines() == [
        "| 2 runs: mean (lowest to highest) | recall@10 |",
        "|---|---:|",
        "| Retrieval alone | 0.3050 (0.3000 to 0.3100) |",
        "| Full chain | 0.3100 (0.3000 to 0.3200) |",
        "| Full chain minus Retrieval alone | +0.0200, -0.0100 |",
    ]


def test_a_source_or_metric_that_a_run_lacks_is_no_number() -> None:
    runs = {"a": _metrics(retrieval=0.30, chain=0.32, ease=0.2), "b": _metrics(retrieval=0.31, chain=0.30)}
    text = spread_table(runs, ["ndcg@10"])
    assert "EASE" not in text
    assert "| Full chain | - |" in text and "| Full chain minus Retrieval alone | - |" in text
