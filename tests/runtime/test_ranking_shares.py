"""Shares of the history against a count by hand, for few candidates and for many."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.ranker.shares import HistoryShares
from runtime.ranker.spec import ShareSpec

SPECS = (ShareSpec("share.kind", "kind", 3), ShareSpec("share.brand", "brand", 100))


@pytest.mark.parametrize("num_candidates", [1, 40])
def test_a_share_is_how_many_of_the_latest_known_items_have_the_candidates_value(num_candidates):
    random = np.random.default_rng(num_candidates)
    num_items, length = 30, 8
    codes = np.concatenate([random.permutation(num_items - 4) + 3, [2, 2, 2, 2]])  # four are out of vocabulary
    features = {"kind": random.integers(1, 5, num_items), "brand": random.integers(1, 3, num_items)}
    shares = HistoryShares(SPECS, codes, features)
    history = random.integers(1, num_items + 3, (50, length))
    for user, used in enumerate(random.integers(0, length + 1, 50)):
        history[user, used:] = 0
    candidates = random.integers(-1, num_items, (50, num_candidates))
    found = shares.compute(history, candidates)
    row_of = {code: row for row, code in enumerate(codes.tolist()) if code >= 3}
    for spec in SPECS:
        for user in range(50):
            rows = [row_of[code] for code in history[user].tolist() if code in row_of][-spec.last :]
            for place, item in enumerate(candidates[user].tolist()):
                if item < 0:
                    continue
                alike = sum(features[spec.item_input][row] == features[spec.item_input][item] for row in rows)
                assert found[spec.name][user, place] == pytest.approx(alike / max(len(rows), 1))


def test_a_user_without_known_items_has_no_share():
    shares = HistoryShares(SPECS, np.array([3, 4]), {"kind": np.array([1, 1]), "brand": np.array([1, 2])})
    assert shares.compute(np.array([[0, 0], [2, 1]]), np.array([[0, 1], [1, 0]]))["share.kind"].tolist() == [[0, 0]] * 2
