"""The shop's truth is read at each query's own user, time and context."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from ensemble.evaluation.queries import Queries
from ensemble.evaluation.truth import TRUTH_FILE, true_probability, why_no_truth
from workflows.shop.config import ShopConfig
from workflows.shop.world import draw_world

USERS = np.array([1, 4, 4])
DEVICE, HOUR = ["phone", None, "desktop"], [3, 13, 20]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    truth = draw_world(ShopConfig(num_users=20, num_items=50, num_impressions=500)).truth
    truth.save(folder / TRUTH_FILE)
    return folder, truth


def queries(at, context):
    return Queries(USERS, np.arange(4), np.zeros(3, np.int64), at, context, {})


@pytest.mark.parametrize("label", ["click", "purchase"])
def test_probabilities_equal_asking_one_pair_at_a_time(shop, label):
    folder, truth = shop
    start, end = (int(bound) for bound in truth.log_from_to)
    at = np.linspace(start, end, 3).astype(np.int64)
    context = {"device": pa.array(DEVICE), "hour": pa.array(HOUR)}
    probability = true_probability(folder, queries(at, context), truth.user_ids, truth.item_ids, label)
    got = probability(np.array([2, 0, 1]))
    ask = truth.purchase_probability if label == "purchase" else truth.click_probability
    for row, query in enumerate([2, 0, 1]):
        user = truth.user_ids[USERS[query]]
        for item in (0, 7, 49):
            expected = ask(user, truth.item_ids[item], at=at[query], device=DEVICE[query], hour=HOUR[query])
            assert got[row, item] == pytest.approx(float(expected), rel=1e-5)


def test_the_reason_is_said_where_the_truth_is_not_known(shop, tmp_path):
    at = np.zeros(3, np.int64)
    assert "simulated shop only" in why_no_truth(tmp_path, queries(at, {}))
    assert "device and hour" in why_no_truth(shop[0], queries(at, {}))
    assert "on hour" in why_no_truth(shop[0], queries(at, {"device": pa.array(DEVICE)}))
    assert why_no_truth(shop[0], queries(at, {"device": pa.array(DEVICE), "hour": pa.array(HOUR)})) is None
