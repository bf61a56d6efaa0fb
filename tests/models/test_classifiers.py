"""Classifiers of labelled events: encodings against loops, planted effects found, no row sees its own label."""

from __future__ import annotations

import sys

import msgspec
import numpy as np
import pytest

from models.classifiers.base import Table, join, load_table
from models.classifiers.boosted_trees import BoostedTrees, fold_means, label_means
from models.classifiers.fitted import fitted_classifiers
from models.classifiers.logistic import Logistic, one_hot
from models.dataset.features import load_events, load_features
from models.metrics.classification import auc, log_loss
from tests.models.checkerboard import checkerboard_run
from workflows.features.schema import Feature

FEATURES = [
    Feature("user_id", "user", "categorical", 23, 0, "user_id"),
    Feature("item_id", "item", "categorical", 13, 0, "item_id"),
    Feature("tags", "item", "categorical", 8, 3, "tags"),
    Feature("price", "item", "continuous", 0, 0, "price"),
]


def planted(num_rows=4000, seed=0):
    """The label depends on user, item, a tag and the price; probabilities known."""
    rng = np.random.default_rng(seed)
    of_user, of_item = np.random.default_rng(99).normal(size=(2, 23))
    user, item = rng.integers(3, 23, num_rows), rng.integers(3, 13, num_rows)
    tags = np.sort(rng.integers(0, 8, (num_rows, 3)))[:, ::-1]
    price = rng.normal(size=num_rows)
    logit = of_user[user] + of_item[item] + 1.5 * (tags == 5).any(axis=1) + price
    chance = 1 / (1 + np.exp(-logit))
    columns = {
        "user_id": user[:, None].astype(np.int32),
        "item_id": item[:, None].astype(np.int32),
        "tags": tags.astype(np.int32),
        "price": price[:, None].astype(np.float32),
    }
    labels, nothing = (rng.random(num_rows) < chance).astype(np.float32), np.zeros((num_rows, 1), np.int32)
    return Table(FEATURES, columns, labels, user.astype(np.int64), nothing, np.arange(num_rows)), chance


def test_one_hot_equals_a_loop():
    table, _ = planted(5)
    got = one_hot(table).toarray()
    for row in range(5):
        expected = np.zeros(23 + 13 + 8 + 1)
        expected[table.columns["user_id"][row, 0]] = 1
        expected[23 + table.columns["item_id"][row, 0]] = 1
        for code in table.columns["tags"][row]:
            expected[23 + 13 + code] += code != 0
        expected[-1] = table.columns["price"][row, 0]
        np.testing.assert_allclose(got[row], expected)


def test_means_are_smoothed_and_out_of_fold():
    table, _ = planted(300)
    codes, labels = table.columns["item_id"][:, 0], table.labels
    means = label_means(table, "item_id", 4.0)
    for code in range(13):
        own = labels[codes == code]
        assert means[code] == pytest.approx((own.sum() + 4 * labels.mean()) / (len(own) + 4))
    held_out = fold_means(table, "item_id", 4.0, seed=1)
    flipped = msgspec.structs.replace(table, labels=labels.copy())
    flipped.labels[7] = 1 - labels[7]
    assert fold_means(flipped, "item_id", 4.0, seed=1)[7] == held_out[7]
    assert (fold_means(flipped, "item_id", 4.0, seed=1) != held_out).any()


@pytest.mark.parametrize("model", [Logistic(1.0), BoostedTrees(7), BoostedTrees(7, id_means=False)])
def test_planted_effects_are_found(model):
    pytest.importorskip(
        "sklearn" if model.name == "logistic" else "lightgbm", reason="the extra 'baselines' is missing"
    )
    (train, _), (valid, _), (test, chance) = (planted(seed=seed) for seed in (0, 1, 2))
    model.fit(train, valid)
    found = model.probabilities(test)
    assert log_loss(test.labels, found) < log_loss(test.labels, chance) + 0.03
    assert auc(test.labels, found) > auc(test.labels, chance) - 0.03


def test_the_search_keeps_the_model_with_the_smallest_log_loss_and_says_what_is_missing(monkeypatch, capsys):
    pytest.importorskip("sklearn", reason="the extra 'baselines' is missing")
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    (train, _), (valid, _) = planted(600), planted(600, seed=1)
    models, records = {}, {}
    for name, model, record in fitted_classifiers(train, valid, join(train, valid), budget_s=60):
        models[name], records[name] = model, record
    assert models["lightgbm"] is None
    assert "lightgbm needs the package lightgbm" in records["lightgbm"].skipped
    assert "lightgbm needs the package" in capsys.readouterr().err
    best = max(records["logistic"].trials, key=lambda trial: trial.value)
    assert records["logistic"].picked == best.params == {"inverse_penalty": models["logistic"].inverse_penalty}
    on_train = Logistic(**best.params)
    on_train.fit(train, valid)
    assert -log_loss(valid.labels, on_train.probabilities(valid)) == pytest.approx(best.value)
    on_both = Logistic(**best.params)
    on_both.fit(join(train, valid), valid)
    np.testing.assert_allclose(models["logistic"].probabilities(valid), on_both.probabilities(valid))


def test_refitted_trees_are_as_many_as_valid_asked_for_and_know_both_splits():
    pytest.importorskip("lightgbm", reason="the extra 'baselines' is missing")
    (train, _), (valid, _), (test, _) = planted(400), planted(400, seed=1), planted(seed=2)
    model = BoostedTrees(7)
    model.fit(train, valid)
    before = log_loss(test.labels, model.probabilities(test))
    num_trees = model._model.best_iteration
    model.refit(join(train, valid))
    assert model._model.num_trees() == num_trees
    assert log_loss(test.labels, model.probabilities(test)) < before


def test_a_split_with_one_value_of_the_label_is_said(capsys):
    (train, _), (valid, _) = planted(60), planted(60, seed=1)
    certain = msgspec.structs.replace(valid, labels=np.ones(60, np.float32))
    for _, model, record in fitted_classifiers(train, certain, train, budget_s=1):
        assert model is None
        assert "the valid split does not have both values of the label" in record.skipped


def test_without_a_valid_row_nothing_is_fitted_and_the_reason_is_said(capsys):
    train, _ = planted(60)
    nothing = train.take(np.zeros(0, np.int64))
    found = list(fitted_classifiers(train, nothing, train, budget_s=60))
    assert [model for _, model, _ in found] == [None, None]
    assert all("the valid split, which has no rows" in record.skipped for _, _, record in found if record.skipped)
    assert "the valid split, which has no rows" in capsys.readouterr().err


def test_the_table_of_a_run_has_ids_and_features_in_the_order_of_the_events(tmp_path):
    run = checkerboard_run(tmp_path)
    table = load_table(run, load_features(run), "valid", "click")
    events = load_events(run, "valid").columns
    assert list(table.columns) == ["user_id", "age", "interests", "device", "item_id", "price", "tags"]
    np.testing.assert_array_equal(table.labels, events["click"])
    np.testing.assert_array_equal(table.columns["user_id"][:, 0], events["user_row"] + 3)
    np.testing.assert_array_equal(table.columns["item_id"][:, 0], events["item_row"] + 3)
    assert set(np.unique(table.labels)) == {0, 1}
