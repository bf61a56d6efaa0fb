"""Team draft: every item once, what is alike credited to nobody, and no team better placed than the other."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.interleave import FIRST, NOBODY, SECOND, credit, interleave


def test_identical_orders_credit_nobody() -> None:
    slate = interleave([5, 3, 9, 1], [5, 3, 9, 1], 3, seed=0)
    assert slate.items.tolist() == [5, 3, 9] and slate.teams.tolist() == [NOBODY] * 3
    assert credit(slate.teams, np.ones(3, bool)) == 0


@pytest.mark.parametrize(
    ("first", "second", "size", "length"),
    [
        ([1, 2], [1, 2, 3, 4, 5], 4, 4),
        ([7], [1, 2, 3, 4], 5, 5),
        ([], [1, 2, 3], 3, 3),
        ([], [], 3, 0),
        ([1, 2], [2, 1], 9, 2),
        ([1, 1, 2], [2, 2, 1], 9, 2),
    ],
)
def test_an_order_that_is_shorter_than_the_slate_ends(first: list, second: list, size: int, length: int) -> None:
    for seed in range(20):
        slate = interleave(first, second, size, seed)
        assert len(slate.items) == len(set(slate.items.tolist())) == len(slate.teams) == length
        assert set(slate.items.tolist()) <= {*first, *second}
        # What one team adds when the other has nothing left says nothing.
        assert abs((slate.teams == FIRST).sum() - (slate.teams == SECOND).sum()) <= 1


def test_teams_take_the_best_that_is_left_in_turns() -> None:
    rng = np.random.default_rng(0)
    for seed in range(200):
        orders = [rng.permutation(30).tolist() for _ in range(2)]
        slate = interleave(*orders, 10, seed)
        assert len(set(slate.items.tolist())) == 10
        start = int((slate.teams == NOBODY).sum())
        assert orders[0][:start] == orders[1][:start] == slate.items[:start].tolist()
        for place in range(start, 10):
            left = [item for item in orders[slate.teams[place]] if item not in slate.items[:place].tolist()]
            assert slate.items[place] == left[0]
        for pair in range(start, 9, 2):
            assert sorted(slate.teams[pair : pair + 2].tolist()) == [FIRST, SECOND]


def test_the_same_seed_gives_the_same_slate() -> None:
    first, second = list(range(20)), list(range(20))[::-1]
    assert interleave(first, second, 9, 4)[0].tolist() == interleave(first, second, 9, 4)[0].tolist()
    assert len({tuple(interleave(first, second, 9, seed).teams.tolist()) for seed in range(50)}) > 10


def test_one_ranker_with_its_ties_broken_twice_wins_half() -> None:
    rng = np.random.default_rng(1)
    chances = rng.beta(1, 9, 40)
    told = []
    for session in range(8_000):
        # Both orders know the chances alike, and break their ties by chance.
        orders = [np.lexsort((rng.random(40), -np.round(chances, 1))).tolist() for _ in range(2)]
        slate = interleave(*orders, 5, session)
        told.append(credit(slate.teams, rng.random(5) < 4 * chances[slate.items]))
    preferences = np.array(told)
    wins, num_told = (preferences > 0).sum(), (preferences != 0).sum()
    assert num_told > 3_000 and abs(wins / num_told - 0.5) <= 0.01 + 2 * 0.5 / np.sqrt(num_told)


def test_the_better_ranker_is_preferred() -> None:
    rng, chances = np.random.default_rng(2), np.linspace(0.4, 0.01, 40)
    best, told = np.argsort(-chances), []
    for session in range(2_000):
        noisy = np.argsort(-(chances + rng.normal(0, 0.1, 40)))
        slate = interleave(noisy.tolist(), best.tolist(), 5, session)
        told.append(credit(slate.teams, rng.random(5) < chances[slate.items]))
    assert np.mean(told) > 0.05
