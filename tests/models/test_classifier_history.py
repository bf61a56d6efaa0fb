"""What classifiers are told of the past: counts against loops, no row sees its own label, planted tastes are found."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from models.classifiers.base import join, load_table
from models.classifiers.examples import FROZEN, UP_TO_EVENT, classifier_examples
from models.classifiers.history import NUM_FOLDS, Past, item_vectors, with_history
from models.classifiers.logistic import Logistic
from models.dataset.features import load_features, load_state
from models.metrics.classification import auc
from tests.models.checkerboard import checkerboard_run, ring_run


def test_events_before_are_counted_strictly_before_the_instant_of_the_same_user():
    rng = np.random.default_rng(0)
    user, at, label = rng.integers(0, 6, 80), rng.integers(0, 15, 80), rng.integers(0, 2, 80).astype(np.float32)
    asked_user, asked_at = rng.integers(0, 9, 50), rng.integers(-2, 20, 50)
    count, positive = Past(user, at, label, 0.5).before(asked_user, asked_at)
    for place in range(50):
        earlier = (user == asked_user[place]) & (at < asked_at[place])
        assert count[place] == earlier.sum()
        assert positive[place] == label[earlier].sum()


def test_item_vectors_are_alike_where_the_same_users_like_both():
    """Two groups of items, each liked by users of its own."""
    pairs = [(user, 3 + item) for user in range(20) for item in range(8) if item % 2 == user % 2 and (user + item) % 5]
    user, code = np.array(pairs).T
    vectors = item_vectors(user, code.astype(np.int32), 13)
    assert not vectors[[0, 1, 2, 11, 12]].any()
    cosine = vectors[3:11] @ vectors[3:11].T
    same = np.arange(8)[:, None] % 2 == np.arange(8) % 2
    assert cosine[same].min() > 0.3
    assert np.abs(cosine[~same]).max() < 1e-5
    assert not item_vectors(user[:0], code[:0].astype(np.int32), 13).any()


@pytest.fixture(scope="module")
def checkerboard(tmp_path_factory):
    run = checkerboard_run(tmp_path_factory.mktemp("run"))
    return run, load_features(run)


def test_shares_and_similarities_equal_a_loop(checkerboard):
    run, features = checkerboard
    train, test = (load_table(run, features, split, "click") for split in ("train", "test"))
    table = with_history(test, features, train, None)
    names = [feature.name for feature in table.features[-5:]]
    assert names == [
        *("history length", "history, same tags"),
        *(f"history similarity, {name}" for name in ("mean", "largest", "latest")),
    ]
    positive = train.labels > 0.5
    vectors = item_vectors(train.user_row[positive], train.columns["item_id"][positive, 0], 27)
    tags = features.items["tags"]
    for row in range(0, len(table), 7):
        item, past = int(table.columns["item_id"][row, 0]), [code for code in table.history[row].tolist() if code]
        shared = [len({*tags[code - 3]} & {*tags[item - 3]} - {0, 1}) > 0 for code in past]
        cosine = [float(vectors[item] @ vectors[code]) for code in past]
        expected = [np.log1p(len(past)), np.mean(shared), np.mean(cosine), max(cosine), cosine[-1]]
        got = [float(table.columns[name][row, 0]) for name in names]
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_no_row_that_vectors_are_fitted_on_sees_its_own_label(checkerboard):
    """What other labels of a user's fold say changes nothing either: its users' rows are left out together."""
    run, features = checkerboard
    train = load_table(run, features, "train", "click")
    flipped = msgspec.structs.replace(train, labels=train.labels.copy())
    own = train.user_row % NUM_FOLDS == 2
    flipped.labels[own] = 1 - flipped.labels[own]
    told, again = (with_history(table, features, table, None, fitted_on_it=True) for table in (train, flipped))
    for feature in told.features[len(train.features) :]:
        np.testing.assert_allclose(told.columns[feature.name][own], again.columns[feature.name][own], atol=1e-5)
    assert (
        np.abs(told.columns["history similarity, mean"][~own] - again.columns["history similarity, mean"][~own]).max()
        > 0.01
    )


def test_a_taste_that_only_the_history_shows_is_found(checkerboard):
    """A weight for each user and each item cannot tell the parities apart; what resembles the history can."""
    pytest.importorskip("sklearn", reason="the extra 'baselines' is missing")
    run, features = checkerboard
    rows = classifier_examples(run, features, "click", seed=1)
    assert list(rows.test) == [UP_TO_EVENT]  # nothing is ordered here
    assert len(rows.both) == len(rows.train) + len(rows.valid)
    model, plain = Logistic(1.0), Logistic(1.0)
    model.fit(rows.train, rows.valid)
    model.refit(rows.both)
    found = model.probabilities(rows.test[UP_TO_EVENT])
    train, valid, test = (load_table(run, features, split, "click") for split in ("train", "valid", "test"))
    plain.fit(join(train, valid), valid)
    assert auc(test.labels, found) > auc(test.labels, plain.probabilities(test)) + 0.1


def test_frozen_histories_are_those_of_the_state_before_the_test_split(tmp_path):
    run = ring_run(tmp_path)
    features = load_features(run)
    rows = classifier_examples(run, features, "click", seed=1)
    frozen, live = rows.test[FROZEN], rows.test[UP_TO_EVENT]
    known = features.history_codes(np.asarray(load_state(run, "eval").history))
    np.testing.assert_array_equal(frozen.history, known[frozen.user_row])
    np.testing.assert_array_equal(frozen.labels, live.labels)
    both = join(load_table(run, features, "train", "click"), load_table(run, features, "valid", "click"))
    counts = np.bincount(both.user_row, minlength=frozen.user_row.max() + 1)[frozen.user_row]
    np.testing.assert_allclose(frozen.columns["events before"][:, 0], np.log1p(counts), rtol=1e-6)
    everything = join(both, load_table(run, features, "test", "click"))
    earlier = (everything.user_row == live.user_row[9]) & (everything.at < live.at[9])
    assert live.columns["events before"][9, 0] == pytest.approx(np.log1p(earlier.sum()))
