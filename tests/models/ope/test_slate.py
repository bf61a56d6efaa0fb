"""Estimators for slates: on average over every slate that can be drawn they are the truth, to the last digits."""

from __future__ import annotations

import numpy as np
import pytest

from models.ope import slate as estimators
from models.ope.pseudo_inverse import can_be_listed, pseudo_inverse, pseudo_inverse_weights
from models.ope.slates import Slates, Values
from models.ope.softmax import enumerate_slates, next_log_probabilities, position_probabilities, slate_log_probabilities
from tests.models.ope import tiny

EXACT = 1e-9


def truth(kind):
    return tiny.under(tiny.TARGET, tiny.rewards(kind).sum(axis=1))


def mean(terms):
    return tiny.under(tiny.LOGGED, terms.pulls)


@pytest.mark.parametrize("kind", ["independent", "cascade", "whole"])
def test_sips_is_right_whatever_interacts(kind):
    assert mean(estimators.slate_ips(tiny.slates(kind))) == pytest.approx(truth(kind), abs=EXACT)


@pytest.mark.parametrize("kind", ["independent", "cascade"])
def test_rips_and_cascade_dr_are_right_where_a_click_depends_on_what_is_above(kind):
    slates = tiny.slates(kind)
    assert mean(estimators.reward_interaction_ips(slates)) == pytest.approx(truth(kind), abs=EXACT)
    for seed in range(3):  # whatever the model says
        values = tiny.wrong_values(seed)
        assert mean(estimators.cascade_doubly_robust(slates, values)) == pytest.approx(truth(kind), abs=EXACT)


def test_rips_is_wrong_where_items_below_matter():
    assert abs(mean(estimators.reward_interaction_ips(tiny.slates("whole"))) - truth("whole")) > 0.01


def position_weights():
    def marginals(utilities):
        drawn = np.exp(tiny.chances(utilities).sum(axis=1))
        table = np.zeros((tiny.S, tiny.C))
        for slate, chance in zip(tiny.ALL, drawn, strict=True):
            for k, item in enumerate(slate):
                table[k, item] += chance
        return table[np.arange(tiny.S), tiny.ALL]

    return marginals(tiny.TARGET) / marginals(tiny.LOGGED)


def test_iips_is_right_where_items_do_not_interact_and_wrong_where_they_do():
    weights = position_weights()
    assert mean(estimators.independent_ips(tiny.slates(), weights)) == pytest.approx(truth("independent"), abs=EXACT)
    assert abs(mean(estimators.independent_ips(tiny.slates("cascade"), weights)) - truth("cascade")) > 0.005


def test_position_probabilities_are_those_of_all_slates():
    both = np.stack([tiny.TARGET, tiny.LOGGED])[:, None].repeat(len(tiny.ALL), axis=1)
    found = [position_probabilities(utilities, tiny.ALL) for utilities in both]
    np.testing.assert_allclose(found[0] / found[1], position_weights(), rtol=EXACT)


def test_position_probabilities_of_equal_of_extreme_and_of_no_candidates():
    equal = position_probabilities(np.zeros((1, 6)), np.array([[0, 1, 2]]))
    np.testing.assert_allclose(equal, 1 / 6, atol=EXACT)
    one = np.full((1, 200), 0.0)
    one[0, 0] = 40.0
    found = position_probabilities(one, np.array([[0, 1, -1]]))
    np.testing.assert_allclose(found, [[1.0, 1 / 199, 0.0]], atol=EXACT)
    closed = position_probabilities(np.array([[1.0, 0.0, -np.inf]]), np.array([[1, 0]]))
    np.testing.assert_allclose(closed, 1 / (1 + np.e), atol=EXACT)
    barred = position_probabilities(np.array([[1.0, 0.0, -np.inf]]), np.array([[2, 0]]))
    assert barred[0, 0] == 0


def test_pseudo_inverse_is_right_where_rewards_add_up():
    logged, target = (np.broadcast_to(row, (len(tiny.ALL), tiny.C)) for row in (tiny.LOGGED, tiny.TARGET))
    weights = pseudo_inverse_weights(logged, target, tiny.ALL)
    found = pseudo_inverse(tiny.rewards().sum(axis=1), weights)
    assert mean(found) == pytest.approx(truth("independent"), abs=EXACT)
    assert abs(mean(pseudo_inverse(tiny.rewards("cascade").sum(axis=1), weights)) - truth("cascade")) > 0.001
    same = pseudo_inverse_weights(logged, logged, tiny.ALL)
    np.testing.assert_allclose(same, 1.0, atol=1e-8)  # a policy that is the logging one weighs each slate alike


def test_pseudo_inverse_is_for_few_slates():
    assert can_be_listed(10, 3) and not can_be_listed(20, 5) and not can_be_listed(2, 3)


def by_double_loop(slates, values=None):
    """SNSIPS, SNRIPS and cascade-DR as they are written on paper."""
    num, size = slates.rewards.shape
    weights = np.ones((num, size + 1))
    for i in range(num):
        for k in range(size):
            weights[i, k + 1] = weights[i, k] * np.exp(slates.target[i, k]) / np.exp(slates.logged[i, k])
    sn = sum(weights[i, size] * slates.rewards[i].sum() for i in range(num)) / sum(weights[i, size] for i in range(num))
    snr = sum(
        sum(weights[i, k + 1] * slates.rewards[i, k] for i in range(num)) / sum(weights[i, k + 1] for i in range(num))
        for k in range(size)
    )
    total = 0.0
    for i in range(num):
        for k in range(size):
            total += weights[i, k] * values.expected[i, k]
            total += weights[i, k + 1] * (slates.rewards[i, k] - values.taken[i, k])
    return sn, snr, total / num


def test_ratios_and_cascade_dr_are_the_double_loop():
    slates, values = tiny.slates("cascade"), tiny.wrong_values()
    found = (
        estimators.self_normalised_slate_ips(slates),
        estimators.self_normalised_reward_interaction_ips(slates),
        estimators.cascade_doubly_robust(slates, values),
    )
    assert [terms.value for terms in found] == pytest.approx(by_double_loop(slates, values), abs=1e-12)
    for terms in found:
        assert terms.pulls.mean() == pytest.approx(terms.value, abs=1e-12)


def test_a_policy_is_worth_what_it_logged():
    same = tiny.slates("cascade", target=tiny.LOGGED)
    earned = same.rewards.sum(axis=1).mean()
    for terms in (
        estimators.slate_ips(same),
        estimators.self_normalised_slate_ips(same),
        estimators.reward_interaction_ips(same),
        estimators.self_normalised_reward_interaction_ips(same),
    ):
        assert terms.value == pytest.approx(earned)


def test_a_true_model_leaves_nothing_to_chance():
    """With the exact value of each prefix every pull of a slate whose rewards are certain is the truth."""
    slates = tiny.slates()
    taken, expected = np.zeros(tiny.ALL.shape), np.zeros(tiny.ALL.shape)

    def value(prefix):
        if len(prefix) == tiny.S:
            return 0.0
        chances = tiny.step(tiny.TARGET, prefix)
        left = [item for item in range(tiny.C) if item not in prefix]
        return sum(chances[item] * gain(prefix, item) for item in left)

    def gain(prefix, item):
        return tiny.RELEVANCE[item] * tiny.CURVE[len(prefix)] + value((*prefix, item))

    for row, slate in enumerate(tiny.ALL.tolist()):
        for k in range(tiny.S):
            prefix = tuple(slate[:k])
            taken[row, k], expected[row, k] = gain(prefix, slate[k]), value(prefix)
    found = estimators.cascade_doubly_robust(slates, Values(taken, expected))
    np.testing.assert_allclose(found.pulls, truth("independent"), atol=EXACT)
    assert estimators.cascade_direct(Values(taken, expected)).value == pytest.approx(truth("independent"), abs=EXACT)


def test_a_cap_above_every_weight_changes_nothing_and_a_low_one_does():
    slates, values = tiny.slates(), tiny.wrong_values()
    free = estimators.cascade_doubly_robust(slates, values)
    largest = slates.weights().max()
    assert estimators.cascade_doubly_robust(slates, values, cap=largest).value == free.value
    assert estimators.cascade_doubly_robust(slates, values, cap=0.5).value != pytest.approx(free.value)


def test_no_overlap_is_no_number_and_hopeless_weights_are_still_numbers():
    slates = tiny.slates()
    never = Slates(slates.rewards, slates.logged, np.full(slates.logged.shape, -np.inf), slates.users)
    assert np.isnan(estimators.self_normalised_slate_ips(never).value)
    assert np.isnan(estimators.self_normalised_reward_interaction_ips(never).value)
    assert estimators.slate_ips(never).value == 0.0
    mad = Slates(slates.rewards, slates.logged - 800.0, slates.target, slates.users)
    assert np.isfinite((mad.weights() ** 2).sum())


def test_next_slots_of_the_softmax():
    tiled = np.broadcast_to(tiny.LOGGED, (len(tiny.ALL), tiny.C))
    following = np.exp(next_log_probabilities(tiled, tiny.ALL))
    np.testing.assert_allclose(following.sum(axis=2), 1.0)
    by_hand = [[tiny.step(tiny.LOGGED, slate[:k]) for k in range(tiny.S)] for slate in tiny.ALL.tolist()]
    np.testing.assert_allclose(following, by_hand, atol=1e-12)
    np.testing.assert_allclose(slate_log_probabilities(tiled, tiny.ALL), tiny.chances(tiny.LOGGED), atol=1e-12)
    outside = slate_log_probabilities(np.zeros((1, 2)), np.array([[0, -1]]))
    np.testing.assert_allclose(outside, [[np.log(0.5), -np.inf]])
    spent = next_log_probabilities(np.zeros((1, 2)), np.array([[0, 1, -1]]))
    assert np.isneginf(spent[0, 2]).all()
    assert len(enumerate_slates(5, 3)) == 60
