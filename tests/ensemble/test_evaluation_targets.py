"""Targets: paths into the report, bounds that are numbers or paths, and what was not measured."""

from __future__ import annotations

import pytest

from ensemble.config_file import load_config
from ensemble.evaluation.config import TargetConfig
from ensemble.evaluation.targets import check_targets, look_up
from workflows.core.errors import ConfigError


def estimate(value):
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


METRICS = {
    "sources": {
        "popularity": {"recall@10": estimate(0.1)},
        "ease": {"recall@10": estimate(0.2)},
        "chain": {"recall@10": estimate(0.21)},
    },
    "baselines": {"popularity": {}, "ease": {}, "als": {"skipped": "no"}},
    "chain_minus": {"popularity": {"recall@10": estimate(0.11)}, "ease": {"recall@10": estimate(0.005)}},
    "ranker": {"auc": 0.75, "rows": "rows"},
}


def test_a_path_leads_to_a_number_an_estimate_or_the_best_baseline():
    assert look_up(METRICS, "ranker.auc") == 0.75
    assert look_up(METRICS, "sources.chain.recall@10") == 0.21
    assert look_up(METRICS, "sources.best_baseline.recall@10") == 0.2
    assert look_up(METRICS, "chain_minus.best_baseline.recall@10.low") == pytest.approx(-0.005)
    for nowhere in (
        "ranker.rows",
        "sources.als.recall@10",
        "sources.best_baseline",
        "sources.best_baseline.ndcg@10",
        "x",
    ):
        assert look_up(METRICS, nowhere) is None
    assert look_up(METRICS | {"baselines": {"popularity": {}}}, "sources.best_baseline.recall@10") is None


@pytest.mark.parametrize(
    ("bound", "met"),
    [
        ({"above": 0.2}, True),
        ({"above": 0.21}, False),
        ({"at_least": 0.21}, True),
        ({"below": 0.21}, False),
        ({"below": 0.22}, True),
        ({"at_least": "sources.ease.recall@10", "times": 1.04}, True),
        ({"above": "sources.ease.recall@10", "times": 1.06}, False),
    ],
)
def test_a_value_is_held_against_its_bound(bound, met):
    [found] = check_targets(METRICS, [TargetConfig(value="sources.chain.recall@10", name="n", **bound)])
    assert (found["name"], found["value"], found["met"], found["missing"]) == ("n", 0.21, met, None)


def test_what_was_not_measured_is_named_and_neither_met_nor_missed():
    targets = [
        TargetConfig(value="sources.chain.recall@10", above="sources.als.recall@10"),
        TargetConfig(value="sources.bpr.recall@10", above=0.0),
    ]
    assert [(found["met"], found["missing"]) for found in check_targets(METRICS, targets)] == [
        (None, "sources.als.recall@10"),
        (None, "sources.bpr.recall@10"),
    ]


@pytest.mark.parametrize("bounds", ["", ", above = 1, below = 2"])
def test_a_target_needs_one_bound(bounds, tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(
        f"[data]\nsource = 'shop'\ntimestamp = 't'\n[evaluate]\ntargets = [{{ value = 'ranker.auc'{bounds} }}]\n"
    )
    with pytest.raises(
        ConfigError, match=r"evaluate.targets\[0\] needs one of above, at_least and below, got (none|2)"
    ):
        load_config(path)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "value = 'chain_minus.best_peer.mrr@9', above = 0",
            "chain_minus.best_peer.mrr@9, which is now chain_minus.best_",
        ),
        ("value = 'ranker.auc', above = 'ranker.peers.ease.auc'", "which is now ranker.baselines.ease.auc; rename it"),
    ],
)
def test_a_path_of_an_older_config_is_told_its_name_of_today(target, message, tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(f"[data]\nsource = 'shop'\ntimestamp = 't'\n[evaluate]\ntargets = [{{ {target} }}]\n")
    with pytest.raises(ConfigError, match=r"config: evaluate.targets\[0\] names ") as raised:
        load_config(path)
    assert message in str(raised.value)
