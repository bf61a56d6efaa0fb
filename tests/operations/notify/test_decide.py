"""Prices, coins and rules, each with what is right by hand."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
import pytest

from models.send_gate.config import NotifyConfig, PushCap
from operations.notify.decide import decide, within_room
from operations.notify.pace import Allowance, Pace, allowance, moved, price_of_batch
from operations.notify.rules import Clocks, is_quiet, room
from workflows.core.errors import ConfigError, DataError

DAY_US = 86_400 * 10**6


def test_what_is_sent_is_as_probable_as_it_says():
    ids = np.array([f"push-{row}" for row in range(40_000)])
    advantage = np.where(np.arange(40_000) % 2, 0.3, -0.3)
    found = decide(ids, advantage, np.full(40_000, ""), 0.0, Allowance(0, 0), explore=0.2)
    np.testing.assert_allclose(found.propensity, np.where(advantage > 0, 0.9, 0.1))
    for worth in (True, False):
        rows = (advantage > 0) == worth
        assert abs(found.sent[rows].mean() - found.propensity[rows][0]) < 4 * np.sqrt(0.09 / rows.sum())
    assert abs((found.reason == "explored").mean() - 0.2) < 0.01
    assert set(found.reason[~found.sent]) == {"not_worth", "explored"}
    again = decide(ids[::-1], advantage[::-1], np.full(40_000, ""), 0.0, Allowance(0, 0), explore=0.2)
    np.testing.assert_array_equal(again.sent[::-1], found.sent)


def test_a_spent_budget_and_rules_hold_with_probability_0():
    held = np.array(["", "cap", "quiet_hours"])
    found = decide(np.array(["a", "b", "c"]), np.ones(3), held, 0.0, Allowance(0, 9, left=0, due=1.0), explore=1.0)
    assert found.reason.tolist() == ["budget", "cap", "quiet_hours"]
    assert not found.sent.any()
    assert not found.propensity.any()


def test_the_coin_costs_no_more_than_the_budget_sends_by_chance():
    """Of 1,000 candidates and 50 pushes a fair coin on a tenth of them would spend it all."""
    config, rng = NotifyConfig(budget=50, explore=0.1), np.random.default_rng(0)
    advantage = rng.normal(size=1_000)
    allowed = allowance(None, config, 0, 0)
    assert (allowed.left, allowed.due, allowed.coin(1_000)) == (50, 50.0, 0.05)
    price = price_of_batch(None, config, allowed, advantage)
    assert (advantage > price).sum() == 50
    found = decide(np.arange(1_000).astype(str), advantage, np.full(1_000, ""), price, allowed, config.explore)
    assert found.propensity.sum() == pytest.approx(50)


@pytest.mark.parametrize(("batches_a_day", "budget_days", "least"), [(1, 1, 0.98), (24, 1, 0.86), (24, 7, 0.92)])
def test_the_spend_meets_the_budget(batches_a_day, budget_days, least):
    """Twice as many candidates on every second day, and better ones from the middle on."""
    config = NotifyConfig(budget=500 * budget_days, budget_days=budget_days)
    rng, pace, num_days = np.random.default_rng(1), None, 35
    spent, earned, every = np.zeros(num_days), 0.0, []
    for number in range(num_days * batches_a_day):
        day, at = number // batches_a_day, number * DAY_US // batches_a_day
        size = (4_000 if day % 2 else 2_000) // batches_a_day
        advantage = rng.normal(0.5 if day > num_days / 2 else 0.0, 1.0, size)
        allowed = allowance(pace, config, at, day)
        price = price_of_batch(pace, config, allowed, advantage)
        ids = np.array([f"{number}-{row}" for row in range(size)])
        sent = decide(ids, advantage, np.full(size, ""), price, allowed, config.explore).sent
        pace = moved(pace, config, allowed, at, day, price, advantage, int(sent.sum()))
        spent[day] += sent.sum()
        if day >= 7:
            earned += advantage[sent].sum()
            every.append(advantage)
    assert least < spent[7:].mean() / 500 < 1.01
    periods = spent.reshape(-1, budget_days).sum(axis=1)
    assert periods.max() < config.budget + 4 * np.sqrt(0.2 * config.budget)  # luck of the coins alone
    best = np.sort(np.concatenate(every))[::-1][: int(spent[7:].sum())].sum()
    assert earned / best > 0.8  # in hindsight, without exploring


def test_the_price_steps_by_what_was_spent_too_much():
    config = NotifyConfig(budget=70, budget_days=7, price_step=0.5)
    advantage = np.array([-1.0, 1.0])  # of deviation 1
    before = Pace(started=100, at_us=0, price=0.3, spread=2.0, period=0, spent=20)
    allowed = allowance(before, config, DAY_US, 101)
    assert (allowed.left, allowed.due) == (50, 10.0)  # ten a day
    for sent, price in ((15, 0.3 + 0.5 * 5 / 10), (10, 0.3), (5, 0.05), (0, 0.0)):
        after = moved(before, config, allowed, DAY_US, 101, 0.3, advantage, sent)
        assert after == Pace(100, DAY_US, pytest.approx(price), 1.0, 0, 20 + sent)
    nobody = moved(before, config, allowed, DAY_US, 101, 0.3, np.zeros(0), 0)
    assert (nobody.price, nobody.spread) == (0.0, 2.0)
    assert allowance(before, config, 7 * DAY_US, 107) == Allowance(1, 0, left=70, due=70.0)


def test_nothing_is_priced_without_a_budget():
    allowed = allowance(None, NotifyConfig(), 0, 0)
    assert price_of_batch(None, NotifyConfig(), allowed, np.array([0.2, -1])) == 0
    assert moved(None, NotifyConfig(), allowed, 5, 3, 0.0, np.array([0.2, -1]), 1).price is None


@pytest.mark.parametrize(
    ("hours", "quiet"),
    [("22:00-08:00", [0, 479, 1_320, 1_439]), ("12:00-13:30", [720, 809]), ("", [])],
)
def test_quiet_hours_begin_inclusively_and_end_exclusively(hours, quiet):
    edges = np.array([0, 479, 480, 719, 720, 809, 810, 1_319, 1_320, 1_439])
    assert edges[is_quiet(edges, hours)].tolist() == quiet


def test_each_user_has_a_clock():
    config = NotifyConfig(time_zone="Europe/Berlin")
    summer = Clocks(
        datetime(2026, 7, 1, 22, 30, tzinfo=timezone.utc), np.array(["", "America/New_York", "Asia/Kolkata"]), config
    )
    assert summer.minutes.tolist() == [30, 18 * 60 + 30, 4 * 60]
    assert (summer.days - summer.days[1]).tolist() == [1, 0, 1]
    winter = Clocks(datetime(2026, 1, 1, 22, 30, tzinfo=timezone.utc), np.array([""]), config)
    assert winter.minutes.tolist() == [23 * 60 + 30]
    with pytest.raises(DataError, match="time_zone 'Mars' of a candidate"):
        Clocks(datetime.now(timezone.utc), np.array(["Mars"]), config)
    with pytest.raises(ConfigError, match=r"send_gate\.notify\.time_zone: '\.\./etc' is no time zone"):
        Clocks(datetime.now(timezone.utc), np.array([""]), NotifyConfig(time_zone="../etc"))
    for hours in ("08:00-08:00", "22-8", "22:00-24:00"):
        with pytest.raises(ConfigError, match="expected two different times such as 22:00-08:00, got"):
            is_quiet(np.zeros(1, np.int64), hours)


def test_every_cap_counts_days_of_the_calendar_today_included():
    caps = [PushCap(pushes=1), PushCap(pushes=3, days=7)]
    users, today = np.array([5, 5, 6, 7, 8]), np.full(5, 100)
    sent = (np.array([5, 6, 6, 6, 7, 7, 7, 9]), np.array([100, 94, 95, 99, 93, 93, 93, 100]))
    assert room(today, users, sent, caps).tolist() == [0, 0, 0, 1, 1]
    assert (room(today, users, sent, []) > 1_000).all()


def test_of_one_users_candidates_those_of_the_highest_advantage_have_room():
    users = np.array(["b", "a", "a", "a", "b"])
    found = within_room(
        users, np.array([1, 2, 2, 2, 1]), np.array([0.1, 0.3, 0.9, 0.5, 0.8]), np.array([1, 1, 1, 1, 0]) > 0
    )
    assert found.tolist() == [True, False, True, True, False]
    assert not within_room(users, np.full(5, -1), np.zeros(5), np.ones(5, bool)).any()
