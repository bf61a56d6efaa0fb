"""Team draft: every item once, what is alike credited to nobody, and no team better placed than the other."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.interleave import FIRST, NOBODY, SECOND, credit, interleave, seed_of

# Of seeds 0, 1 and 2**64 - 1; a change of them makes the log's credits those of another draft.
GOLDEN = ["011001010", "101001100", "011010101"]
GOLDEN_SEED = 13756358499503236615


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
        alike = [place for place in range(10) if orders[0][place] == orders[1][place]]
        assert np.flatnonzero(slate.teams == NOBODY).tolist() == alike
        kept = {orders[0][place] for place in alike}
        assert slate.items[alike].tolist() == [orders[0][place] for place in alike]
        chosen = np.flatnonzero(slate.teams != NOBODY)
        for place in chosen.tolist():
            before = {*slate.items[:place].tolist(), *kept}
            assert slate.items[place] == next(item for item in orders[slate.teams[place]] if item not in before)
        for pair in range(0, len(chosen) - 1, 2):
            assert sorted(slate.teams[chosen[pair : pair + 2]].tolist()) == [FIRST, SECOND]


def test_what_both_have_at_a_place_stays_there_for_nobody() -> None:
    for seed in range(20):
        slate = interleave([1, 2, 99, 3, 7], [4, 5, 99, 6, 7], 5, seed)
        assert slate.items[2] == 99 and slate.items[4] == 7 and slate.teams[[2, 4]].tolist() == [NOBODY] * 2
        assert sorted(slate.teams[[0, 1]].tolist()) == [FIRST, SECOND]
        # A place that is beyond the slate is none, and an item that one order has there may be chosen.
        assert len(interleave([1, 2, 99], [4, 5, 99], 2, seed).items) == 2


def test_both_teams_are_first_as_often(seeds: int = 4_000) -> None:
    firsts = np.array([interleave([1, 2], [3, 4], 1, seed).teams[0] for seed in range(seeds)])
    assert abs(firsts.mean() - 0.5) < 4 * 0.5 / np.sqrt(seeds)


def test_the_tosses_are_those_of_every_release() -> None:
    teams = ["".join(map(str, interleave(range(9), range(9, 18), 9, seed).teams)) for seed in (0, 1, 2**64 - 1)]
    assert teams == GOLDEN
    assert seed_of("margin-1", "17", "r-1") == GOLDEN_SEED
    # Neither the user nor the request alone decides.
    assert len({seed_of("s", user, request) for user in ("1", "11") for request in ("1", "11", "")}) == 6


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
