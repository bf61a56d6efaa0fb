"""What is played happens as the truth says, and the log that is written holds it."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from workflows.core.errors import DataError
from workflows.decisions.log import read_log
from workflows.shop.config import ReturnsConfig, ShopConfig
from workflows.shop.laboratory import Shop, draw_visits, open_shop
from workflows.shop.play import Played, play, true_value
from workflows.shop.slate_log import slate_table, write_slate_log
from workflows.shop.truth import DEVICES
from workflows.shop.visits import Slates, Visits

CONFIG = ShopConfig(num_users=300, num_items=200, policy="softmax", returns=ReturnsConfig(), seed=3)


@pytest.fixture(scope="module")
def shop() -> Shop:
    return open_shop(CONFIG)


@pytest.fixture(scope="module")
def played(shop: Shop) -> Played:
    return play(shop, shop.logging_policy(), draw_visits(shop, 20_000, 1), seed=2)


def fixed(items: list[int]):
    def policy(rng: np.random.Generator, visits: Visits) -> Slates:
        rows = np.tile(np.array(items), (len(visits), 1))
        return Slates(rows, np.zeros(rows.shape), np.zeros(len(visits), dtype=bool), "fixed")

    return policy


@pytest.mark.parametrize("reward", ["click", "purchase", "utility"])
def test_outcomes_are_as_often_as_expected(shop, played, reward):
    got, expected = played.reward(reward), np.asarray(getattr(played.expected, reward), dtype=np.float64)
    for slot in range(10):
        error = got[:, slot] - expected[:, slot]
        assert abs(error.mean()) < 4.5 * error.std() / np.sqrt(len(error))
    value = true_value(shop, shop.logging_policy(), draw_visits(shop, 20_000, 7), reward, seed=9)
    difference = got.sum(axis=1).mean() - value.mean
    assert abs(difference) < 4.5 * np.hypot(value.deviation, got.sum(axis=1).std() / np.sqrt(len(got)))


def test_the_expectation_is_that_of_the_truth_and_the_stated_formula(shop):
    visits = draw_visits(shop, 500, 4)
    outcome = play(shop, fixed([5, 9, 11]), visits, seed=1).expected
    truth = shop.world.truth
    device = np.array([*DEVICES, None])[visits.device]
    arguments = {"at": visits.at, "device": device, "hour": visits.hour}
    for slot, item in enumerate([5, 9, 11]):
        ids = np.full(500, truth.item_ids[item])
        look = float(truth.examination(slot + 1))
        click = look * truth.click_probability(truth.user_ids[visits.users], ids, **arguments)
        bought = look * truth.purchase_probability(truth.user_ids[visits.users], ids, **arguments)
        np.testing.assert_allclose(outcome.click[:, slot], click, rtol=1e-5)
        np.testing.assert_allclose(outcome.purchase[:, slot], bought, rtol=1e-5)
        back = bought - outcome.kept[:, slot]
        money = 0.02 * click + shop.returns.margin[item] * outcome.kept[:, slot] - 8.0 * back
        np.testing.assert_allclose(outcome.utility[:, slot], money, rtol=1e-4, atol=1e-6)


def test_crowding_takes_clicks_from_what_stands_below_its_like(shop):
    category = shop.world.truth.item_category
    first, second = np.flatnonzero(category == category[5])[:2].tolist()
    other = int(np.flatnonzero(category != category[5])[0])
    visits, crowded = draw_visits(shop, 400, 4), shop.with_crowding(0.5)
    plain = play(shop, fixed([first, other, second]), visits, seed=1).expected.click
    got = play(crowded, fixed([first, other, second]), visits, seed=1).expected.click
    np.testing.assert_allclose(got[:, :2], plain[:, :2])
    look = shop.world.truth.examination(3).astype(np.float64)
    odds = [click[:, 2] / look / (1 - click[:, 2] / look) for click in (plain, got)]
    np.testing.assert_allclose(np.log(odds[0]) - np.log(odds[1]), 0.5, rtol=1e-3)


def test_what_is_played_is_a_function_of_the_seed(shop):
    visits = draw_visits(shop, 700, 1)
    one, again, other = (play(shop, shop.logging_policy(), visits, seed=seed) for seed in (5, 5, 6))
    assert (one.slates.items == again.slates.items).all()
    assert (one.click == again.click).all()
    assert (one.slates.items != other.slates.items).any()


def test_a_policy_is_told_what_happened_before_it_is_asked_again(shop):
    known: list[int] = []

    def learner(rng: np.random.Generator, visits: Visits) -> Slates:
        return fixed([len(known), 10])(rng, visits)

    played = play(shop, learner, draw_visits(shop, 500, 1), 1, lambda block: known.append(len(block.visits)), 100)
    assert known == [100] * 5
    assert played.slates.items[::100, 0].tolist() == [0, 1, 2, 3, 4]


def test_the_log_holds_each_slate_that_was_played(shop, played, tmp_path):
    write_slate_log(tmp_path / "log.parquet", played, shop.world.truth, "utility")
    log = pq.read_table(tmp_path / "log.parquet")
    assert log.num_rows == 20_000
    assert len(set(log["request_id"].to_pylist())) == 20_000
    truth = shop.world.truth
    assert np.array_equal(log["user_id"].to_numpy(), truth.user_ids[played.visits.users])
    assert np.array_equal(np.stack(log["item_ids"].to_pylist()), truth.item_ids[played.slates.items])
    assert np.array_equal(np.stack(log["log_propensity"].to_pylist()), played.slates.log_propensity)
    np.testing.assert_allclose(np.stack(log["rewards"].to_pylist()), played.utility)
    assert np.array_equal(log["at"].to_numpy().astype("datetime64[ns]").astype(np.int64), played.visits.at)
    assert np.array_equal(np.stack(log["click"].to_pylist()), played.click)
    assert log["uniform"].to_numpy(zero_copy_only=False).mean() == pytest.approx(CONFIG.random_share, abs=0.01)
    # Chance had a part in all of them: the evaluation of another policy counts each, whatever filled it.
    assert log["explored"].to_numpy(zero_copy_only=False).all()
    assert len(read_log(tmp_path / "log.parquet")) == 20_000
    fixed_log = slate_table(play(shop, fixed([7, 8]), draw_visits(shop, 5, 1), seed=1), truth)
    assert not any(fixed_log["explored"].to_pylist())


def test_a_slot_without_an_item_is_no_entry_of_the_log(shop):
    played = play(shop, fixed([7, -1, -1]), draw_visits(shop, 5, 1), seed=1)
    log = slate_table(played, shop.world.truth)
    assert log["item_ids"].to_pylist() == [[int(shop.world.truth.item_ids[7])]] * 5
    assert [len(rewards) for rewards in log["rewards"].to_pylist()] == [1] * 5
    assert (played.expected.click[:, 1:] == 0).all()
    assert (played.click[:, 1:] == 0).all()


def test_slates_that_cannot_be_are_refused(shop):
    visits = draw_visits(shop, 5, 1)
    with pytest.raises(DataError, match=r"policy 'fixed' shows an item twice in one slate: \[3, 4, 3\]"):
        play(shop, fixed([3, 4, 3]), visits, seed=1)
    with pytest.raises(DataError, match="policy 'fixed' shows item rows from 3 to 200; 0 to 199 exist"):
        play(shop, fixed([3, 200]), visits, seed=1)
    with pytest.raises(DataError, match="reward 'money' is unknown; use click, purchase or utility"):
        true_value(shop, fixed([3]), visits, "money", seed=1)
