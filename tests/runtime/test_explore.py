"""Draws and their probabilities against an enumeration of every slate, written without the code that is tested."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import chi2

from runtime.explore import NO_PLACE, log_propensities, sample

UTILITIES = np.array([0.9, 0.4, 0.4, -0.3, 0.0, 1.2])
KINDS = np.array([0, 0, 1, 1, 2, 0])
VECTORS = np.array([[1.0, 0, 0], [0.9, 0.435889894, 0], [0, 1, 0], [0, 0, 1], [0.6, 0, 0.8], [0.8, 0.6, 0]])
TEMPERATURE = 0.5
DRAWS = 200_000


class MmrWithACapAndAPin:
    """Similarity to what is shown costs; at most two of a kind; the second slot is item 3's."""

    def __init__(self, num_users: int) -> None:
        self._slates: list[list[int]] = [[] for _ in range(num_users)]

    def penalties(self):
        of = {slate: np.array(penalties_by_hand(slate)) for slate in {tuple(s) for s in self._slates}}
        return np.array([of[tuple(s)] for s in self._slates])

    def take(self, places):
        for slate, place in zip(self._slates, places.tolist(), strict=True):
            slate.append(place)


def penalties_by_hand(slate):
    """[C], of the slot behind `slate`."""
    costs = []
    for item in range(6):
        cost = 0.7 * max((float(VECTORS[item] @ VECTORS[shown]) for shown in slate), default=0.0)
        forbidden = sum(KINDS[shown] == KINDS[item] for shown in slate) >= 2
        if len(slate) == 1 and 3 not in slate:
            forbidden = item != 3
        costs.append(math.inf if forbidden else cost)
    return costs


def enumerated(penalties):
    """The probability of every slate of three out of six, slot by slot, as the formula says it."""
    found = {}
    for slate in itertools.permutations(range(6), 3):
        probability = 1.0
        for slot, item in enumerate(slate):
            weights = [
                math.exp((UTILITIES[j] - cost) / TEMPERATURE) if j not in slate[:slot] else 0.0
                for j, cost in enumerate(penalties(slate[:slot]))
            ]
            probability *= weights[item] / sum(weights)
        found[slate] = probability
    return found


@pytest.mark.parametrize("rules", [None, MmrWithACapAndAPin], ids=["free", "mmr, cap and pin"])
class TestEverySlate:
    """C = 6, S = 3: 120 slates."""

    def test_the_probabilities_are_those_of_the_enumeration_and_sum_to_one(self, rules):
        expected = enumerated(penalties_by_hand if rules else lambda slate: [0.0] * 6)
        slates = np.array(list(expected))
        logs = log_propensities(np.tile(UTILITIES, (120, 1)), slates, TEMPERATURE, rules and rules(120))
        assert logs.dtype == np.float64 and not np.isnan(logs).any()
        np.testing.assert_allclose(np.exp(logs.sum(axis=1)), list(expected.values()), rtol=1e-12, atol=1e-300)
        assert abs(np.exp(logs.sum(axis=1)).sum() - 1) < 1e-9

    def test_slates_are_drawn_as_often_as_their_probability_says(self, rules):
        expected = enumerated(penalties_by_hand if rules else lambda slate: [0.0] * 6)
        seeds = np.arange(DRAWS)
        draw = sample(np.tile(UTILITIES, (DRAWS, 1)), 3, TEMPERATURE, seeds, rules=rules and rules(DRAWS))
        counts = dict.fromkeys(expected, 0)
        slates, times = np.unique(draw.places, axis=0, return_counts=True)
        counts.update(zip(map(tuple, slates.tolist()), times.tolist(), strict=True))
        assert all(expected[slate] > 0 for slate, count in counts.items() if count)
        pairs = [(counts[slate], DRAWS * p) for slate, p in expected.items() if p > 0]
        statistic = sum((seen - wanted) ** 2 / wanted for seen, wanted in pairs)
        assert chi2.sf(statistic, len(pairs) - 1) > 0.001

    def test_a_draw_says_the_probability_of_its_slate(self, rules):
        utilities = np.random.default_rng(1).normal(size=(50, 6))
        draw = sample(utilities, 3, TEMPERATURE, np.arange(50), rules=rules and rules(50))
        again = log_propensities(utilities, draw.places, TEMPERATURE, rules and rules(50))
        np.testing.assert_allclose(draw.log_propensity, again, rtol=0, atol=1e-12)


def test_a_pinned_slot_is_certain():
    draw = sample(UTILITIES[None], 3, TEMPERATURE, np.array([5]), rules=MmrWithACapAndAPin(1))
    assert draw.places[0, 1] == 3 or draw.places[0, 0] == 3
    slate = np.array([5, 3, 4])
    assert log_propensities(UTILITIES, slate, TEMPERATURE, MmrWithACapAndAPin(1))[1] == 0


def test_one_item_that_outweighs_all_others_does_not_cancel_them():
    logs = log_propensities(np.array([40.0] + [0.0] * 199), np.arange(20), 1.0)
    np.testing.assert_allclose(logs, [0] + [-math.log(199 - k) for k in range(19)], atol=1e-12)
    assert logs[1] == pytest.approx(-5.2933048, abs=1e-7)


def test_equal_utilities_give_every_candidate_the_same_chance():
    for value in (0.0, 1e6, -1e6, 1e300):
        logs = log_propensities(np.full(8, value), np.array([3, 1, 7]), 0.3)
        np.testing.assert_allclose(logs, [-math.log(8), -math.log(7), -math.log(6)], rtol=1e-12)


def test_huge_utilities_give_a_distribution_and_noise_still_decides_between_equals():
    utilities = np.tile([1e6, -1e6, -1e6, 1e6 + 40, -np.inf], (4000, 1))
    draw = sample(utilities, 5, 1.0, np.arange(4000))
    assert draw.places[:, :2].tolist() == [[3, 0]] * 4000
    assert set(map(tuple, draw.places[:, 2:].tolist())) == {(1, 2, NO_PLACE), (2, 1, NO_PLACE)}
    assert np.mean(draw.places[:, 2] == 1) == pytest.approx(0.5, abs=0.04)
    np.testing.assert_allclose(draw.log_propensity[0], [0, 0, -math.log(2), 0, 0], atol=1e-12)
    beyond = sample(np.tile([1e18, 0.0, 0.0], (4000, 1)), 2, 1.0, np.arange(4000))
    assert np.mean(beyond.places[:, 1] == 1) == pytest.approx(0.5, abs=0.04)


def test_what_is_never_shown_is_never_drawn_and_has_no_chance():
    utilities = np.array([[-np.inf, 0.0, -np.inf], [-np.inf] * 3])
    draw = sample(utilities, 3, 1.0, np.array([1, 2]))
    assert draw.places.tolist() == [[1, NO_PLACE, NO_PLACE], [NO_PLACE] * 3]
    assert draw.log_propensity.tolist() == [[0.0] * 3] * 2
    assert log_propensities(utilities[0], np.array([1, 0]), 1.0).tolist() == [0.0, -np.inf]
    assert log_propensities(utilities[1], np.array([1, 0]), 1.0).tolist() == [-np.inf, -np.inf]


@pytest.mark.parametrize(
    ("utilities", "temperature", "words"),
    [
        ([0.0, np.nan], 1.0, r"utilities\[0, 1\] is nan; expected numbers"),
        ([np.inf, 0.0], 1.0, r"utilities\[0, 0\] is inf; expected numbers"),
        ([1e308, -1e308], 1e-3, "differ by more than a float64 holds"),
        ([0.0, 1.0], 0.0, "the temperature is 0.0; expected a number above 0"),
        ([0.0, 1.0], -1.0, "the temperature is -1.0"),
        ([0.0, 1.0], np.nan, "the temperature is nan"),
        ([0.0, 1.0], np.inf, "the temperature is inf"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_what_gives_no_distribution_is_refused(utilities, temperature, words):
    with pytest.raises(ValueError, match=words):
        sample(np.array([utilities]), 2, temperature, np.array([1]))


@pytest.mark.parametrize(
    ("slate", "words"),
    [
        ([0, 0], "slate 0 shows place 0 twice"),
        ([0, 3], "place 3 is outside the 3 candidates"),
        ([-2, 0], "place -2 is outside"),
        ([-1, 0], "an empty slot before a full one"),
        ([[0, 1], [1, 2]], "2 slates for 1 rows of utilities"),
    ],
)
def test_what_is_no_slate_is_refused(slate, words):
    with pytest.raises(ValueError, match=words):
        log_propensities(np.zeros(3), np.array(slate), 1.0)


def test_a_rule_whose_penalty_is_no_number_is_refused():
    class Broken:
        def penalties(self):
            return np.array([[0.0, np.nan]])

        def take(self, places):
            raise AssertionError("not reached")

    with pytest.raises(ValueError, match="a rule's penalty is NaN"):
        sample(np.zeros((1, 2)), 1, 1.0, np.array([1]), rules=Broken())


def test_a_slate_depends_on_its_seed_its_utilities_and_its_items_alone():
    random = np.random.default_rng(2)
    utilities, rows, seeds = random.normal(size=(7, 40)), random.permutation(7 * 40).reshape(7, 40), np.arange(7) - 3
    together = sample(utilities, 10, 0.5, seeds, rows)
    for user in range(7):
        one = slice(user, user + 1)
        alone = sample(utilities[one], 10, 0.5, seeds[one], rows[one])
        assert alone.places.tolist() == together.places[one].tolist()
        assert alone.log_propensity.tolist() == together.log_propensity[one].tolist()
        mixed_up = random.permutation(40)
        moved = sample(utilities[one][:, mixed_up], 10, 0.5, seeds[one], rows[one][:, mixed_up])
        assert rows[one][:, mixed_up][:, moved.places[0]].tolist() == rows[one][:, together.places[user]].tolist()
    shorter = sample(utilities, 4, 0.5, seeds, rows)
    assert shorter.places.tolist() == together.places[:, :4].tolist()


def test_a_draw_of_a_release_is_the_draw_of_the_next():
    draw = sample(np.linspace(0, 1, 12)[None], 6, 0.25, np.array([-42]), np.arange(100, 112)[None])
    assert draw.places.tolist() == [[4, 11, 7, 9, 8, 3]]
