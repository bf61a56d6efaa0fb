"""1,000 pairs of a user and an item: where the item is lost and where it stands, as brute force says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ensemble.config import ChainConfig, FilterRule
from tests.operations.why.world import STRANGER, World

PAIRS = 200
SMALL = ChainConfig(num_candidates=30, slate_size=5, max_slate_size=20)
RULED = ChainConfig(
    num_candidates=20, slate_size=4, max_slate_size=20, rules=[FilterRule(column="price", op="<", value=0.5)]
)
SHOWS_SEEN = ChainConfig(num_candidates=25, slate_size=5, max_slate_size=20, filter_seen=False)
VARIANTS: dict[str, dict[str, Any]] = {
    "int ids, exact index, factored": {},
    "text ids, ivf index, plain": {"text_ids": True, "index": "ivf", "factored": False},
    "further sources with quotas": {"further": True},
    "a rule, gathered": {"chain": RULED, "rules": (lambda category, price: price < 0.5,), "gathered": True},
    "seen items are shown": {"chain": SHOWS_SEEN},
}

# What `make test` leaves out: they go through the same code, longer.
LONG = ("text ids, ivf index, plain", "further sources with quotas", "seen items are shown")


def requests(random: np.random.Generator) -> dict[str, Any]:
    """What a request may hold, in rows and as the oracle takes it."""
    recent = random.integers(0, 300, int(random.integers(0, 4))).tolist()
    context = {"device": "phone", "hour": 7, "temperature": 31.0} if random.random() < 0.5 else {}
    excluded = random.integers(0, 300, 12).tolist() if random.random() < 0.3 else []
    return {"recent": recent, "context": context, "excluded": excluded, "size": int(random.integers(1, 12))}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.long] * (name in LONG)) for name in VARIANTS])
def test_every_pair_is_lost_where_brute_force_says(name: str, tmp_path: Path) -> None:
    world, random = World(tmp_path, **VARIANTS[name]), np.random.default_rng(len(name))
    reasons: Counter[str] = Counter()
    for number in range(PAIRS):
        user = STRANGER if random.random() < 0.15 else int(random.integers(0, 60))
        request = requests(random)
        seen = sorted(world.oracle.seen[user]) if user < 60 else []
        # Of each kind some: any item, one that is in the slate, one that the user has seen, one that is excluded.
        slate = world.chain.recommend(
            {"user_id": np.array([[world.user(user)]], object if world.text_ids else np.int64)}
        )
        shown = np.searchsorted(world.ids, slate["item_id"][0, :1].astype(world.ids.dtype)).tolist()
        among = [range(300), shown, seen or range(300), request["excluded"] or range(300)][number % 4]
        row = int(random.choice(list(among)))
        asking = world.ask(user, row, **request)
        expected = world.oracle.why(
            world.user(user),
            row,
            request["context"],
            world.items(request["recent"]),
            world.items(request["excluded"]),
            request["size"],
        )
        lost, stands = world.found(asking)
        assert (lost, asking.way.place) == (expected.lost_at, expected.place)
        reasons[lost] += 1
        for source, rank in (expected.by_source or {}).items():
            found = stands[source]
            assert found is not None and found.rank == rank
        if expected.merged is not None:
            assert asking.way.merged is not None and asking.way.merged.rank == expected.merged
        if expected.rank is not None:
            assert asking.way.ordered is not None and asking.way.ordered.rank == expected.rank
    wanted = {"", "sources", "slate", "excluded", "eligibility", *({"seen"} if "shown" not in name else ())}
    assert wanted <= set(reasons) and reasons["merge"] > 0, reasons
