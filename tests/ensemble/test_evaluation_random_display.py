"""Quality on what chance displayed: worked examples, and the truth recovered from the clicks of a biased policy."""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ensemble.evaluation.console_table import console_tables
from ensemble.evaluation.markdown import report_text
from ensemble.evaluation.queries import load_queries
from ensemble.evaluation.random_display import Displayed, measure_random_display
from ensemble.evaluation.random_order import measure_order, random_order
from ensemble.evaluation.stage import evaluate
from ensemble.evaluation.verdict import POLICY_SENTENCE, order_sentence, verdict
from models.dataset.features import State, load_state
from models.metrics.bootstrap import Resamples
from models.metrics.classification import auc
from models.ope.config import OpeConfig
from tests.ensemble.synthetic import sign_again
from tests.ensemble.test_evaluation import add_split, make_evaluated_run, metrics_of, random_events
from workflows.tables.config import DataConfig
from workflows.tables.split import PROPENSITY

RESAMPLES = Resamples(200, 1)


def measured(slates, displayed, num_items, **options):
    users = np.arange(len(next(iter(slates.values()))))
    defaults = {"state": None, "eligible": np.ones(num_items, bool), "cutoffs": [1, 2], "resamples": RESAMPLES}
    return measure_random_display(slates, displayed, users, **defaults | options)


def test_a_click_weighs_one_over_its_propensity_and_counts_where_its_user_s_slate_has_the_item():
    displayed = Displayed(np.array([0, 0, 2, 2]), np.array([5, 3, 5, -1]), np.array([4.0, 1.0, 2.0, 3.0]), 40)
    slates = {
        "popularity": np.array([[3, 5], [0, 1], [4, -1]], np.int32),
        "chain": np.array([[5, 1], [5, 3], [1, 5]], np.int32),
    }
    record = measured(slates, displayed, 8)
    assert (record["num_displays"], record["num_positive"], record["num_users"]) == (40, 4, 2)
    values = {s: [row[f"recall@{k}"]["value"] for k in (1, 2)] for s, row in record["sources"].items()}
    assert values["popularity"] == pytest.approx([1 / 10, 5 / 10])
    assert values["chain"] == pytest.approx([4 / 10, 6 / 10])
    assert record["chain_minus"]["popularity"]["recall@1"]["value"] == pytest.approx(0.3)
    assert "chain" not in record["chain_minus"]


def test_a_slate_drawn_at_random_is_drawn_from_what_may_be_shown():
    """Of 8 items 6 are eligible; user 0 has seen one of them and one that is not eligible."""
    eligible = np.array([1, 1, 1, 0, 1, 1, 1, 0], bool)
    state = State(np.zeros((2, 1), np.int32), np.array([0, 2, 2]), np.array([0, 7], np.int32), np.ones(8, np.float32))
    displayed = Displayed(np.array([0, 0, 1, 1]), np.array([5, 3, 5, -1]), np.array([1.0, 1.0, 2.0, 1.0]), 4)
    record = measured({"chain": np.zeros((2, 2), np.int32)}, displayed, 8, state=state, eligible=eligible)
    assert record["drawn"] == pytest.approx({"recall@1": (1 / 5 + 2 / 6) / 5, "recall@2": (2 / 5 + 4 / 6) / 5})


def test_the_interval_is_that_of_the_ratio_over_resampled_users():
    rng = np.random.default_rng(3)
    owner = np.sort(rng.integers(0, 30, 80))
    displayed = Displayed(owner, rng.integers(0, 10, 80), rng.integers(1, 5, 80).astype(float), 500)
    slates = {"chain": rng.permuted(np.tile(np.arange(10), (30, 1)), axis=1)[:, :2].astype(np.int32)}
    found = measured(slates, displayed, 10)["sources"]["chain"]["recall@2"]
    users = np.unique(owner)
    total = np.array([displayed.weights[owner == user].sum() for user in users])
    held = [
        sum(w for row, w in zip(displayed.rows[owner == u], displayed.weights[owner == u], strict=True) if row in s)
        for u, s in ((user, slates["chain"][user]) for user in users)
    ]
    ratios = np.concatenate([(w @ np.array(held)) / (w @ total) for w in RESAMPLES.weights(len(users))])
    low, high = np.percentile(ratios, [2.5, 97.5])
    assert found == pytest.approx({"value": sum(held) / total.sum(), "low": low, "high": high})


def test_the_clicks_of_a_biased_display_with_known_propensities_give_the_true_share():
    """Items are displayed with very different probabilities; the weights undo it, plain counts do not."""
    rng = np.random.default_rng(5)
    num_users, num_items = 20_000, 12
    click = rng.uniform(0.02, 0.3, num_items)
    shown = np.geomspace(1.0, 40.0, num_items) / np.geomspace(1.0, 40.0, num_items).sum()
    items = rng.choice(num_items, num_users, p=shown)
    clicked = np.flatnonzero(rng.random(num_users) < click[items])
    displayed = Displayed(clicked, items[clicked], 1.0 / shown[items[clicked]], num_users)
    order = np.argsort(-click)[:2]  # what everybody would click most
    slates = {"chain": np.tile(order, (num_users, 1)).astype(np.int32)}
    found = measured(slates, displayed, num_items)["sources"]["chain"]["recall@2"]
    truth = click[order].sum() / click.sum()
    assert found["low"] < truth < found["high"]
    plain = np.isin(items[clicked], order).mean()
    assert not found["low"] < plain < found["high"]


def test_nothing_clicked_of_what_chance_displayed_leaves_counts_alone():
    nothing = np.zeros(0, np.int64)
    record = measured({"chain": np.zeros((2, 2), np.int32)}, Displayed(nothing, nothing, nothing.astype(float), 3), 8)
    assert record == {"num_displays": 3, "num_positive": 0, "num_users": 0}


def with_propensities(root, propensity):
    """A run whose test events have the column."""
    run, config = make_evaluated_run(root)
    part = next((run.folder("data") / "test").glob("*.parquet"))
    table = pq.read_table(part)
    column = pa.array(propensity(len(table)), pa.float64(), from_pandas=True)
    pq.write_table(table.append_column(PROPENSITY, column), part)
    sign_again(run)
    return run, msgspec.structs.replace(config, data=msgspec.structs.replace(config.data, propensity="chance"))


def test_only_new_positives_that_chance_displayed_to_users_who_are_asked_count(tmp_path):
    run, config = with_propensities(tmp_path / "r", lambda rows: [None] * rows)
    state = load_state(run, "eval")
    had = int(state.seen(5)[0])
    fresh = [row for row in range(300) if row not in set(state.seen(5).tolist())][:3]
    events = {
        "user_row": [5, 5, 5, 5, 5, 5, 7],
        "item_row": [fresh[0], fresh[0], fresh[1], had, -1, fresh[2], 9],
        "click": [1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0],
    }
    add_split(run, "test", events)
    part = next((run.folder("data") / "test").glob("*.parquet"))
    chance = pa.array([0.5, 0.25, None, 0.5, 0.5, 0.5, 0.5], pa.float64())
    pq.write_table(pq.read_table(part).append_column(PROPENSITY, chance), part)
    displayed = load_queries(run, config, state).displayed
    assert displayed.owner.tolist() == [0, 0, 0]
    assert displayed.rows.tolist() == [fresh[0], fresh[0], -1]
    assert displayed.weights.tolist() == [2.0, 4.0, 2.0]
    assert displayed.num_displays == 4  # the seen item cannot be shown, and user 7 is not asked about


def test_the_report_leads_with_what_chance_displayed_and_says_why_the_rest_counts_less(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ensemble.evaluation.ranker_rows.ranker_quality", lambda run, config: {"skipped": "No rows."})
    run, config = with_propensities(tmp_path / "r", lambda rows: [1 / 300 if i % 8 else None for i in range(rows)])
    evaluate(run, msgspec.structs.replace(config, ope=OpeConfig(min_ess=10)))
    metrics = metrics_of(run)
    record = metrics["random_display"]
    assert set(record["sources"]) == set(metrics["sources"])
    assert set(record["chain_minus"]) == set(metrics["sources"]) - {"chain"}
    assert 0 < record["drawn"]["recall@5"] < record["drawn"]["recall@20"] < 0.2
    told, *sentences, last = verdict(metrics)
    assert told.startswith("Without bias, of the 525 test places that chance filled (")
    assert "if each held one of the chain's first 20: " in told and "would get the label click" in told
    assert "Of the first 5 alone no number is given: too few of these places" in told
    assert all("in recall@20 on what chance displayed" in sentence for sentence in sentences)
    assert last.startswith(POLICY_SENTENCE)
    page = (run.folder("report") / "index.html").read_text()
    assert page.index("Full chain, earned@20, without bias") < page.index("What the slates would earn")
    assert page.index("What the slates would earn") < page.index("On what chance displayed")
    assert page.index("On what chance displayed") < page.index("Sources side by side, on all test events")
    assert "Drawn at random" in page
    printed = capsys.readouterr().err
    assert told in " ".join(printed.split()) and printed.index("evaluate: Without bias") < printed.index(
        "on what chance"
    )
    assert printed.index("on what chance displayed") < printed.index("on what the earlier policy chose")
    assert POLICY_SENTENCE in " ".join(printed.split())
    assert len(console_tables(metrics)) == 2
    text = report_text("r", metrics)
    assert text.index("| by the 525 places") < text.index("| on what chance displayed") < text.index("| source |")
    assert text.count("Drawn at random") == 2


def test_without_a_propensity_the_report_is_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr("ensemble.evaluation.ranker_rows.ranker_quality", lambda run, config: {"skipped": "No rows."})
    run, config = make_evaluated_run(tmp_path / "r", events=random_events(1))
    evaluate(run, config)
    metrics = metrics_of(run)
    assert "random_display" not in metrics
    assert len(console_tables(metrics)) == 1
    assert POLICY_SENTENCE not in (run.folder("report") / "index.html").read_text()


def test_the_order_of_what_chance_displayed_is_measured_with_its_weights():
    """The ranker is right on the heavy rows and wrong on the light ones; popularity is the other way round."""
    labels = np.array([1, 0, 1, 0] * 20)
    ranker, popularity = np.array([0.9, 0.1, 0.4, 0.6] * 20), np.array([1.0, 5.0, 4.0, 2.0] * 20)
    heavy = np.array([9.0, 9.0, 1.0, 1.0] * 20)
    found = measure_order({"ranker": ranker, "popularity": popularity}, labels, np.arange(80) // 4, heavy, RESAMPLES)
    won = {"ranker": 81 + 9 + 9, "popularity": 1}  # of 100: row 0 above 1 and above 3, 2 above 1; row 2 above 3
    for name, value in won.items():
        assert found[name]["auc"]["value"] == pytest.approx(value / 100)
        assert found[name]["auc_within_users"]["value"] == pytest.approx(value / 100)
    assert found["minus_popularity"]["auc"]["value"] == pytest.approx((won["ranker"] - won["popularity"]) / 100)
    assert (found["num_rows"], found["num_positive"], found["num_users"]) == (80, 40, 20)
    alone = measure_order(
        {"ranker": ranker, "popularity": popularity}, labels, np.arange(80), heavy, RESAMPLES
    )  # nobody has two rows
    assert "auc_within_users" not in alone["ranker"]
    assert "ranker" not in measure_order({"ranker": ranker}, np.ones(80), np.arange(80), heavy, RESAMPLES)


def test_the_order_is_that_of_the_test_events_of_known_items(tmp_path):
    run, config = with_propensities(tmp_path / "r", lambda rows: [0.5 if i % 3 else None for i in range(rows)])
    table = pq.read_table(run.folder("data") / "test")
    labels = np.asarray(table["click"].to_numpy())
    found = random_order(run, config, labels, np.where(labels > 0.5, 0.8, 0.1))["random_display"]
    by_chance = np.arange(len(labels)) % 3 > 0
    assert (found["num_rows"], found["num_positive"]) == (by_chance.sum(), labels[by_chance].sum())
    assert found["ranker"]["auc"]["value"] == 1.0
    popularity = np.asarray(load_state(run, "eval").popularity)[table["item_row"].to_numpy()]
    assert found["popularity"]["auc"]["value"] == pytest.approx(auc(labels[by_chance], popularity[by_chance]))
    said = order_sentence({"ranker": {"random_display": found}})
    assert f"{int(labels[by_chance].sum())} of {by_chance.sum()} displays were positive" in said
    assert "AUC 1.00 against" in said
    assert order_sentence({"ranker": {}}) == ""
    assert random_order(run, msgspec.structs.replace(config, data=DataConfig()), labels, labels) == {}
