"""What slates would earn, by what chance displayed: worked examples, and the truth from a biased display."""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ensemble.evaluation.markdown import off_policy_table
from ensemble.evaluation.off_policy import Places, measure_off_policy
from ensemble.evaluation.queries import load_queries
from ensemble.evaluation.verdict import headline
from models.dataset.features import load_state
from models.ope.config import OpeConfig
from tests.ensemble.test_evaluation import add_split, make_evaluated_run
from tests.ensemble.test_evaluation_random_display import with_propensities
from workflows.tables.split import PROPENSITY

ANY = OpeConfig(min_ess=0.01, max_weight_share=1.0)


def places_of(owner, rows, propensity, reward):
    return Places(np.array(owner), np.array(rows), np.array(propensity, float), np.array(reward, float), "click")


def test_a_place_earns_its_reward_over_k_p_where_the_user_s_slate_has_the_item():
    """50 users without a query, who earned nothing, count as places; item -1 is in no slate, padded as that one is."""
    others = 50
    places = places_of(
        [0, 0, 1, 1, 1, *range(2, 2 + others)],
        [4, 3, 4, 2, -1, *[4] * others],
        [0.1, 0.2, 0.1, 0.25, 0.1, *[0.1] * others],
        [1, 0, 1, 1, 1, *[0] * others],
    )
    slates = {"popularity": np.array([[3, 4], [2, 0]], np.int32), "chain": np.array([[4, 3], [4, -1]], np.int32)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.ope.diagnostics.MAX_Z", np.inf)  # these few are far from what they should be on average
        record = measure_off_policy(slates, places, [1, 2], ANY)
    assert (record["num_places"], record["num_users"]) == (55, 52)
    assert record["drawn"]["value"] == pytest.approx(4 / 55)
    chain, popularity = record["sources"]["chain"], record["sources"]["popularity"]
    assert chain["earned@1"]["value"] == pytest.approx((1 / 0.1 + 1 / 0.1) / 55)
    # User 1's slate has one item alone, which has the place for itself.
    assert chain["earned@2"]["value"] == pytest.approx((1 / 0.2 + 1 / 0.1) / 55)
    assert popularity["earned@1"]["value"] == pytest.approx((1 / 0.25) / 55)
    assert popularity["earned@2"]["value"] == pytest.approx((1 / 0.2 + 1 / 0.5) / 55)
    gap = record["chain_minus"]["popularity"]["earned@1"]
    assert gap["value"] == pytest.approx(chain["earned@1"]["value"] - popularity["earned@1"]["value"])
    assert "chain" not in record["chain_minus"]


def a_log(rng, num_users=3_000, num_items=12, slots=3):
    """Items are displayed with very different probabilities; users without a click have no query."""
    click = rng.uniform(0.02, 0.3, num_items)
    shown = np.geomspace(1.0, 15.0, num_items) / np.geomspace(1.0, 15.0, num_items).sum()
    items = rng.choice(num_items, (num_users, slots), p=shown)
    clicked = rng.random(items.shape) < click[items]
    order = np.argsort(~clicked.any(axis=1), kind="stable")  # who clicked comes first, and alone has a query
    owner = np.repeat(np.arange(num_users), slots)
    rows, reward = items[order].ravel(), clicked[order].ravel()
    return places_of(owner, rows, shown[rows], reward), click, int(clicked.any(axis=1).sum())


def test_the_intervals_hold_the_truth_though_only_users_who_clicked_are_asked():
    rng, held, refused, plain = np.random.default_rng(2), 0, 0, 0
    for _ in range(100):
        places, click, num_queries = a_log(rng)
        best = np.argsort(-click)[:3]
        slates = {"chain": np.tile(best, (num_queries, 1)).astype(np.int32)}
        record = measure_off_policy(slates, places, [3], OpeConfig())
        if "earned@3" in record["refused"]["chain"]:
            refused += 1
            continue
        found = record["sources"]["chain"]["earned@3"]
        held += found["low"] < click[best].mean() < found["high"]
        asked = places.owner < num_queries
        plain += found["low"] < places.reward[asked & np.isin(places.rows, best)].mean() < found["high"]
    assert refused <= 1
    assert held >= 0.9 * (100 - refused)
    assert plain == 0  # the clicks of users who clicked say too much


def test_too_few_places_and_wrong_propensities_are_refused():
    places, click, num_queries = a_log(np.random.default_rng(3))
    slates = {"chain": np.tile(np.argsort(-click)[:3], (num_queries, 1)).astype(np.int32)}
    few = measure_off_policy(slates, msgspec.structs.replace(places, rows=places.rows * 40), [3], OpeConfig())
    assert few["sources"]["chain"] == {}
    assert few["refused"]["chain"]["earned@3"].startswith("too few of these places hold such an item")
    for factor in (0.25, 2.0):
        wrong = msgspec.structs.replace(places, propensity=places.propensity * factor)
        record = measure_off_policy(slates, wrong, [3], OpeConfig())
        assert "standard errors from 1" in record["refused"]["chain"]["earned@3"]


@pytest.mark.parametrize("num_users", [0, 1])
def test_places_are_those_of_queried_users_and_of_as_large_a_share_of_the_others(tmp_path, num_users):
    """Users 5 and 6 have something relevant; 7, 8, 9 and 10 have not, and the event of nobody known says nothing."""
    run, config = with_propensities(tmp_path / "r", lambda rows: [None] * rows)
    state = load_state(run, "eval")
    fresh = [row for row in range(300) if row not in {*state.seen(5).tolist(), *state.seen(6).tolist()}]
    events = {
        "user_row": [5, 5, 6, 7, 8, 9, 10, -1],
        "item_row": [fresh[0], -1, fresh[1], 3, 3, 3, 3, 3],
        "click": [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0],
    }
    add_split(run, "test", events)
    part = next((run.folder("data") / "test").glob("*.parquet"))
    chance = pa.array([0.5, 0.25, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], pa.float64())
    pq.write_table(pq.read_table(part).append_column(PROPENSITY, chance), part)
    drawn = msgspec.structs.replace(config, evaluate=msgspec.structs.replace(config.evaluate, num_users=num_users))
    places = load_queries(run, drawn, state).places
    assert places.label == "click"
    if not num_users:
        assert places.owner.tolist() == [0, 0, 1, 2, 3, 4, 5]
        assert places.rows.tolist() == [fresh[0], -1, fresh[1], 3, 3, 3, 3]
        assert places.propensity.tolist() == [0.5, 0.25, 0.5, 0.5, 0.5, 0.5, 0.5]
        assert places.reward.tolist() == [1, 1, 1, 0, 0, 0, 0]
    else:
        assert (np.unique(places.owner) == [0, 1, 2]).all()  # half of those who are queried, half of the others
        assert places.reward[places.owner > 0].sum() == 0


def test_without_a_number_it_says_why_and_without_clicks_nothing():
    refused = {"chain": {"earned@5": "too few.", "earned@9": "too few of them"}}
    record = {"num_places": 7, "num_users": 3, "label": "", "refused": refused, "sources": {"chain": {}}}
    metrics = {"cutoffs": [5, 9], "off_policy": record, "random_display": {"sources": {}}}
    said = "What the chain would earn cannot be told without bias from the 7 test places that chance filled (3 users)"
    assert headline(metrics) == f"{said}: too few of them."
    assert off_policy_table(metrics) == f"{said}: too few of them.\n"
    assert headline(metrics | {"random_display": {}}) == headline({"cutoffs": [5]}) == ""


def test_without_a_propensity_nothing_is_read(tmp_path):
    run, config = make_evaluated_run(tmp_path / "r")
    assert load_queries(run, config, load_state(run, "eval")).places is None
