"""Notifications happen as planted, and the plan over them is the optimum: checked by equations and by playing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from workflows.shop.config import NotifyConfig, ShopConfig
from workflows.shop.dynamics import NUM_FATIGUE, NUM_HABIT, Dynamics, draw_dynamics, rounded
from workflows.shop.laboratory import open_shop
from workflows.shop.notify import FEATURES, Rule
from workflows.shop.optimum import Plan, evaluate, solve
from workflows.shop.push_log import ACTIVITY_FILE, DECISIONS_FILE, activity_table, decision_table, write_push_log
from workflows.shop.pushes import NotifyShop, open_notify, visits_of_days
from workflows.shop.simulate import lines, simulate

DISCOUNT = 0.98
NEVER, ALWAYS = (Rule(lambda day, chance=chance: np.full(len(day.score), chance)) for chance in (0.0, 1.0))


@pytest.fixture(scope="module")
def dynamics() -> Dynamics:
    return draw_dynamics()


@pytest.fixture(scope="module")
def plan(dynamics) -> Plan:
    return solve(dynamics, DISCOUNT)


@pytest.fixture(scope="module")
def shop() -> NotifyShop:
    return open_notify(ShopConfig(notify=NotifyConfig()), 3_000)


@pytest.fixture(scope="module")
def days(shop):
    return shop.play(shop.logging_rule(), 60)


def test_the_values_are_those_of_bellmans_equation_written_out(dynamics, plan):
    """One state in words: weekday 2, fatigue 3, habit 4, of every type."""
    tired, habit, day = 3, 4, 2
    tomorrow, gone = plan.value[:, :, :, day + 1], plan.out[:, :, day + 1]

    def then(values, rise, fall):  # values [T, H]
        return rise * values[:, habit + 1] + fall * values[:, habit - 1] + (1 - rise - fall) * values[:, habit]

    def rested(more):  # [T, H]
        return np.einsum("f,tfh->th", rounded(more)[tired], tomorrow)

    visit = dynamics.visit[:, habit, day]
    less = [0.10, 0.10 + 0.06 * np.array([0.0, 1.0, 1.6])[dynamics.traits[:, 1]]]
    held = visit + DISCOUNT * (visit * then(rested(None), 0.22, 0) + (1 - visit) * then(rested(None), 0, less[0]))
    out = dynamics.opt_out[:, tired]
    kept = visit * then(rested(True), 0.22, 0) + (1 - visit) * then(rested(True), 0, less[1])
    lost = visit * then(gone, 0.22, 0) + (1 - visit) * then(gone, 0, less[1])
    ignored = visit + DISCOUNT * ((1 - out) * kept + out * lost)
    opened = 1 + DISCOUNT * then(rested(False), 0.22, 0)
    for relevance in range(8):
        chance = dynamics.open[:, tired, habit, day, relevance]
        sent = chance * opened + (1 - chance) * ignored
        np.testing.assert_allclose(plan.advantage[:, tired, habit, day, relevance], sent - held, atol=1e-9)
    best = np.maximum(plan.advantage[:, tired, habit, day], 0).mean(axis=-1) + held
    np.testing.assert_allclose(plan.value[:, tired, habit, day], best, atol=1e-9)


def test_no_policy_beats_the_optimum_from_any_state(dynamics, plan):
    rng = np.random.default_rng(1)
    rivals = [np.zeros(dynamics.open.shape), np.ones(dynamics.open.shape), rng.random(dynamics.open.shape)]
    rivals += [(plan.advantage > bound) * 1.0 for bound in (-0.05, 0.05)]
    for send in rivals:
        assert (evaluate(dynamics, DISCOUNT, send).value <= plan.value + 1e-9).all()


def test_what_is_played_has_the_planned_value(shop):
    short = replace(shop, plan=solve(shop.dynamics, 0.9), config=NotifyConfig(discount=0.9))
    best = Rule(lambda day: short.advantage(np.arange(3_000), (day.fatigue, day.habit, day.weekday, day.relevance)) > 0)
    for policy, plan in (
        (best, short.plan),
        (ALWAYS, evaluate(shop.dynamics, 0.9, np.ones(shop.dynamics.open.shape))),
        (NEVER, evaluate(shop.dynamics, 0.9, np.zeros(shop.dynamics.open.shape))),
    ):
        expected = plan.value[shop.users.type, 0, shop.users.habit, 0]
        difference = short.value(short.play(policy, 120)) - expected  # 0.9 ** 120 is nothing
        assert abs(difference.mean()) < 4.5 * difference.std() / np.sqrt(3_000)
    assert short.optimal_value() == pytest.approx(
        short.plan.value[shop.users.type, 0, shop.users.habit, 0].mean(), rel=1e-12
    )


def test_fatigue_is_rounded_to_its_grid_without_a_drift():
    for after, more in ((None, 0.0), (False, 0.35), (True, 1.0)):
        chance = rounded(after)
        np.testing.assert_allclose(chance.sum(axis=1), 1.0)
        expected = np.minimum(0.8 * np.arange(NUM_FATIGUE) + more, NUM_FATIGUE - 1)
        np.testing.assert_allclose(chance @ np.arange(NUM_FATIGUE), expected)


def test_the_planted_traps(dynamics, shop, days):
    impatient, patient = (dynamics.traits[:, 1] == trait for trait in (2, 0))
    assert (dynamics.opt_out[patient] == 0).all()
    assert (dynamics.opt_out[impatient] > 0.15).all()
    assert not days.opted_out[:, patient[shop.users.type]].any()
    lost = impatient[shop.users.type] & days.opted_out.any(axis=0)
    first = np.argmax(days.opted_out, axis=0)
    after = np.arange(60)[:, None] > first[None, :]
    assert lost.sum() > 20
    assert not (days.active & after)[:, lost].any()
    # Weekends: users come by themselves when most is sent, so that whoever counts sees pushes work.
    held = days.reachable & ~days.sent
    weekend = (np.arange(60) % 7 >= 4)[:, None]
    rates = [days.visited[held & part].mean() for part in (weekend, ~weekend)]
    assert rates[0] > rates[1] + 0.05
    assert days.sent[np.arange(60) % 7 >= 4].mean() > days.sent[np.arange(60) % 7 < 4].mean() + 0.05


def test_survivors_of_many_pushes_make_them_look_harmless_and_the_assigned_cap_does_not(shop, days):
    """Pinterest's trap: who turned notifications off got few, since they are off."""
    sent, lost = days.sent.sum(axis=0), days.opted_out.any(axis=0)
    many = sent > np.median(sent)
    assert lost[many].mean() < lost[~many].mean()
    assert lost[shop.caps == 7].mean() > lost[shop.caps == 2].mean()


def test_features_are_as_of_before_the_decision(days):
    column = {name: days.features[..., place] for place, name in enumerate(FEATURES)}
    assert (column["score"] == days.score).all()
    assert (column["days_known"] == np.arange(60)[:, None]).all()
    sums = np.zeros(3_000)
    rate, chances = np.zeros(3_000), np.zeros(3_000)
    for day in range(60):
        np.testing.assert_allclose(column["sends_3d"][day], sums, rtol=1e-5)
        np.testing.assert_allclose(column["visit_rate_14d"][day], (rate + 0.5) / (chances + 1), rtol=1e-5)
        sums = sums * 0.5 ** (1 / 3) + days.sent[day]
        own = ~days.opened[day]  # an open is no visit of their own
        rate = np.where(own, rate * 0.5 ** (1 / 14) + days.visited[day], rate)
        chances = np.where(own, chances * 0.5 ** (1 / 14) + 1, chances)
    before = np.where(days.sent[:-1], 1.0, np.minimum(column["days_since_send"][:-1] + 1, 60.0))
    assert (column["days_since_send"][1:] == before).all()


def test_pushes_are_sent_as_often_as_the_propensity_says(days):
    chance, sent = days.propensity[days.reachable], days.sent[days.reachable]
    assert set(np.unique(chance).round(6)) == {0.1, 0.9}
    for one in (0.1, 0.9):
        inside = sent[np.isclose(chance, one)]
        assert abs(inside.mean() - one) < 4.5 * np.sqrt(0.09 / len(inside))
    assert not days.sent[~days.reachable].any()


def test_the_reference_knows_users_as_well_as_it_believes(shop):
    """Calibration of the exact posterior, after twenty days of the logging rule."""
    reference = shop.observable_reference()
    rule = shop.logging_rule()

    class Watches:
        def decide(self, day):
            return rule.decide(day)

        def saw(self, day, outcome):
            rule.saw(day, outcome)
            reference.saw(day, outcome)

    days = shop.play(Watches(), 20)
    there = days.reachable[-1] & ~days.opted_out[-1]
    belief = reference.belief[there].reshape(-1, len(shop.dynamics.share), NUM_FATIGUE * NUM_HABIT).sum(axis=2)
    np.testing.assert_allclose(belief.sum(axis=1), 1.0)
    truth = shop.users.type[there]
    for kind in range(len(shop.dynamics.share)):
        expected, spread = belief[:, kind].sum(), np.sqrt((belief[:, kind] * (1 - belief[:, kind])).sum())
        assert abs((truth == kind).sum() - expected) < 4.5 * spread
    said = belief[np.arange(len(truth)), truth].mean()
    assert said > 2.0 * np.square(shop.dynamics.share).sum()  # and knows far more than the shares


def test_the_simulation_leaves_a_learner_something_to_prove(shop):
    found = simulate(shop, 60)
    gain = {one.policy: one.gain for one in found.policies}
    assert gain["never"] == 0.0
    assert gain["optimum, sees all"] == 1.0
    assert gain["P(open) threshold, tuned on the truth"] <= 0.75
    assert gain["observable reference"] >= 0.90
    assert gain["always"] < gain["logging rule"] < gain["observable reference"]
    text = lines(found)
    assert len(text) == len(found.policies) + 2
    assert text[1].startswith("never")


def test_another_policy_stands_in_the_table_and_the_same_seed_gives_the_same(shop):
    small = open_notify(ShopConfig(), 300, seed=4)
    one, again = (simulate(small, 10, {"coin": Rule(lambda day: np.full(300, 0.5))}) for _ in range(2))
    assert "coin" in [line.policy for line in one.policies]
    assert one == again
    other = open_notify(ShopConfig(), 300, seed=5)
    assert (other.play(NEVER, 10).visited != small.play(NEVER, 10).visited).any()


def test_the_log_has_a_row_a_decision_and_a_row_a_day(shop, days, tmp_path):
    decisions, activity = decision_table(shop, days).to_pandas(), activity_table(days).to_pandas()
    assert len(decisions) == days.reachable.sum()
    assert decisions.decision_id.is_unique
    assert decisions["at"].is_monotonic_increasing
    assert not decisions.duplicated(["user_id", "day"]).any()
    place = (decisions.day.to_numpy(), decisions.user_id.to_numpy() - 1)
    for column, values in (("action", days.sent), ("opened", days.opened), ("opted_out", days.opted_out)):
        assert (decisions[column].to_numpy() == values[place]).all()
    assert (decisions.active == (decisions.opened | decisions.visited)).all()
    assert (decisions.propensity.between(0, 1, inclusive="neither")).all()
    assert len(activity) == days.sent.size
    assert (activity.active.to_numpy().reshape(days.sent.shape) == days.active).all()
    small = open_notify(ShopConfig(notify=NotifyConfig(days=7)), 50)
    write_push_log(small, tmp_path / "log", 7)
    assert pq.read_table(tmp_path / "log" / DECISIONS_FILE)["day"].to_numpy().max() == 6
    assert pq.read_table(tmp_path / "log" / ACTIVITY_FILE).num_rows == 350


def test_who_is_kept_by_notifications_is_shown_more_slates(shop):
    laboratory = open_shop(ShopConfig(num_users=3_000, num_items=60, policy="softmax"))
    best = Rule(lambda day: shop.advantage(np.arange(3_000), (day.fatigue, day.habit, day.weekday, day.relevance)) > 0)
    kept, alone = (visits_of_days(laboratory, shop.play(policy, 30)) for policy in (best, NEVER))
    assert len(kept) > 1.1 * len(alone)
    assert (np.diff(kept.at) >= 0).all()
    assert kept.at.max() < laboratory.world.truth.log_from_to[0] + 30 * 86_400 * 10**9
