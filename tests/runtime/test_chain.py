"""The compiled chain against brute force, item for item."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ensemble.config import ChainConfig, FilterRule
from ensemble.export.compile import compile_chain
from runtime.chain import Chain
from runtime.errors import BadRequest
from tests.ensemble.oracle import Oracle
from tests.ensemble.synthetic import UTILITY, item_id, make_run, user_id

VARIANTS = {
    "int ids, exact index, factored": {"text_ids": False, "index": "exact", "factored": True},
    "text ids, ivf index, plain": {"text_ids": True, "index": "ivf", "factored": False},
    "text ids, exact index, factored": {"text_ids": True, "index": "exact", "factored": True},
    "int ids, ivf index, gathered": {"text_ids": False, "index": "ivf", "gathered": True},
    "int ids, exact index, further sources": {"text_ids": False, "further": True},
    "int ids, exact index, tasks": {"text_ids": False, "utility": UTILITY},
    "text ids, ivf index, plain, tasks": {"text_ids": True, "index": "ivf", "factored": False, "utility": UTILITY},
}


class World:
    """A synthetic run, its compiled chain and the oracle over it."""

    def __init__(
        self, root: Path, chain: ChainConfig | None = None, rules: tuple = (), state: str = "serve", **variant
    ):
        self.text_ids = variant.get("text_ids", False)
        self.run, self.config = make_run(root / "run", chain=chain, **variant)
        compile_chain(self.run, self.config, root / "chain", state)
        self.chain = Chain.load(root / "chain")
        self.oracle = Oracle(root / "run", self.config.chain, state, rules)

    def users(self, *rows: int) -> np.ndarray:
        return np.array([[user_id(row, self.text_ids)] for row in rows], object if self.text_ids else np.int64)

    def items(self, *rows: int) -> list:
        return [item_id(row, self.text_ids) for row in rows]

    def item_array(self, *rows: int) -> np.ndarray:
        return np.array([self.items(*rows)], object if self.text_ids else np.int64)

    def agree(self, answer: dict, index: int, expected: tuple) -> None:
        items, scores, path = expected
        count = int(answer["num_items"][index, 0])
        assert answer["item_id"][index, :count].tolist() == items
        np.testing.assert_allclose(answer["score"][index, :count], scores, atol=2e-5)
        assert answer["path"][index, 0].decode() == path
        padding = b"" if self.text_ids else -1
        assert all(value == padding for value in answer["item_id"][index, count:].tolist())
        assert not answer["score"][index, count:].any()


@pytest.fixture(scope="module")
def world_of(tmp_path_factory):
    return cache(lambda name: World(tmp_path_factory.mktemp("world"), **VARIANTS[name]))


@pytest.fixture(params=VARIANTS)
def world(request, world_of) -> World:
    return world_of(request.param)


def test_every_known_user_gets_the_slate_of_brute_force(world):
    rows = range(60)
    answer = world.chain.recommend({"user_id": world.users(*rows)})
    for row in rows:
        world.agree(answer, row, world.oracle.slate(user_id(row, world.text_ids)))


def test_threads_that_share_a_chain_get_the_slates_that_each_would_get_alone(world):
    rng = np.random.default_rng(5)
    requests = [
        {"user_id": world.users(row), "recent_item_ids": world.item_array(*rng.integers(0, 80, 4))}
        for row in [*range(60)] * 2
    ]
    alone = [world.chain.recommend(request)["item_id"].tolist() for request in requests]
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads change places within a step, not between slates alone
    try:
        with ThreadPoolExecutor(8) as pool:
            together = pool.map(lambda request: world.chain.recommend(request)["item_id"].tolist(), requests)
            assert list(together) == alone
    finally:
        sys.setswitchinterval(usual)


@pytest.mark.parametrize("kind", ["ivf_pq", "hnsw"])
def test_every_kind_of_index_serves_the_slates_of_brute_force(tmp_path, kind):
    world = World(tmp_path, index=kind, num_users=20)
    answer = world.chain.recommend({"user_id": world.users(*range(20))})
    for row in range(20):
        world.agree(answer, row, world.oracle.slate(user_id(row, False)))


def test_slates_do_not_depend_on_the_batch(world):
    rows = list(range(33))
    alone = [world.chain.recommend({"user_id": world.users(row)}) for row in rows]
    for size in (2, 33):
        for start in range(0, len(rows) - size + 1, size):
            together = world.chain.recommend({"user_id": world.users(*rows[start : start + size])})
            for place in range(size):
                for name, values in alone[start + place].items():
                    assert values[0].tolist() == together[name][place].tolist()


def test_paths_of_unknown_users(world):
    nobody = world.users(10_000)
    context = {"device": np.array([[b"phone"]], object), "hour": np.array([[7]]), "temperature": np.array([[31.0]])}
    raw = {"device": "phone", "hour": 7, "temperature": 31.0}
    recent = world.item_array(11, 4, 250)
    cases = [
        ({}, {}, "popularity"),
        (context, {"context": raw}, "context"),
        ({"hour": np.array([[23]])}, {"context": {"hour": 23}}, "context"),
        ({"recent_item_ids": recent}, {"recent": world.items(11, 4, 250)}, "history"),
        ({**context, "recent_item_ids": recent}, {"context": raw, "recent": world.items(11, 4, 250)}, "history"),
        ({"recent_item_ids": world.item_array(10_000)}, {"recent": world.items(10_000)}, "popularity"),
        ({"temperature": np.array([[np.nan]])}, {}, "popularity"),
    ]
    for request, arguments, path in cases:
        expected = world.oracle.slate(user_id(10_000, world.text_ids), **arguments)
        assert expected[2] == path
        world.agree(world.chain.recommend({"user_id": nobody, **request}), 0, expected)


def test_recent_items_follow_the_stored_history_and_count_as_seen(world):
    for user in (0, 2, 9):
        rows = [20, 10_000, 21, 22, 23]
        answer = world.chain.recommend({"user_id": world.users(user), "recent_item_ids": world.item_array(*rows)})
        world.agree(answer, 0, world.oracle.slate(user_id(user, world.text_ids), recent=world.items(*rows)))
        assert not set(answer["item_id"][0].tolist()) & set(world.items(*rows))


def test_ten_thousand_recent_items_are_answered_from_the_latest(world):
    rows = [row % 40 for row in range(10_000)]
    answer = world.chain.recommend({"user_id": world.users(3), "recent_item_ids": world.item_array(*rows)})
    world.agree(answer, 0, world.oracle.slate(user_id(3, world.text_ids), recent=world.items(*rows)))


def test_excluded_items_are_left_out_and_the_slate_stays_full(world):
    first = world.chain.recommend({"user_id": world.users(5), "slate_size": np.array([[20]], np.int32)})
    excluded = first["item_id"][0].tolist()
    array = np.array([[*excluded, *world.items(10_000)]], first["item_id"].dtype)
    answer = world.chain.recommend({"user_id": world.users(5), "exclude_item_ids": array})
    assert answer["num_items"][0, 0] == 5
    world.agree(answer, 0, world.oracle.slate(user_id(5, world.text_ids), exclude=excluded))


def test_a_user_who_has_seen_all_but_five_items_gets_what_is_left(world):
    answer = world.chain.recommend({"user_id": world.users(1), "slate_size": np.array([[20]], np.int32)})
    left = [row for row in range(5) if row in world.oracle.eligible]
    assert answer["num_items"][0, 0] == len(left) > 0
    assert sorted(answer["item_id"][0, : len(left)].tolist()) == sorted(world.items(*left))


def test_excluding_everything_gives_an_empty_slate(world):
    answer = world.chain.recommend({"user_id": world.users(7), "exclude_item_ids": world.item_array(*range(300))})
    assert answer["num_items"][0, 0] == 0
    assert not answer["score"].any()


def test_each_user_of_a_request_has_its_own_slate_size_and_padded_lists(world):
    padding = b"" if world.text_ids else -1
    ragged = np.array([[*world.items(1, 2)], [world.items(3)[0], padding]], object if world.text_ids else np.int64)
    request = {"user_id": world.users(4, 6), "slate_size": np.array([[2], [7]], np.int32), "recent_item_ids": ragged}
    answer = world.chain.recommend(request)
    assert answer["item_id"].shape == (2, 7)
    world.agree(answer, 0, world.oracle.slate(user_id(4, world.text_ids), recent=world.items(1, 2), size=2))
    world.agree(answer, 1, world.oracle.slate(user_id(6, world.text_ids), recent=world.items(3), size=7))


def test_requests_answered_together_equal_requests_answered_alone(world):
    requests = [
        {"user_id": world.users(1, 2), "slate_size": np.array([[3], [1]], np.int32)},
        {"user_id": world.users(10_000), "device": np.array([[b"tablet"]], object)},
        {"user_id": world.users(8), "slate_size": np.array([[0]], np.int32)},
        {"user_id": world.users(9), "recent_item_ids": world.item_array(*range(12))},
        {"user_id": world.users(9), "exclude_item_ids": world.item_array(*range(50))},
    ]
    together = world.chain.recommend_many(requests)
    assert isinstance(together[2], BadRequest)
    for request, answer in zip(requests, together, strict=True):
        if not isinstance(answer, BadRequest):
            alone = world.chain.recommend(request)
            assert {name: values.tolist() for name, values in answer.items()} == {
                name: values.tolist() for name, values in alone.items()
            }


def test_rules_stock_and_state_decide_who_is_eligible(tmp_path):
    chain = ChainConfig(
        num_candidates=30,
        slate_size=20,
        max_slate_size=20,
        filter_seen=False,
        rules=[
            FilterRule(column="category", op="not_in", value=["c3", "c4"]),
            FilterRule(column="price", op="<=", value=0),
        ],
    )
    rules = (lambda category, price: category not in ("c3", "c4") and price <= 0,)
    world = World(tmp_path, chain=chain, rules=rules, state="eval", num_users=20)
    answer = world.chain.recommend({"user_id": world.users(*range(20))})
    for row in range(20):
        world.agree(answer, row, world.oracle.slate(user_id(row, False)))


def test_an_index_that_finds_too_few_is_made_up_for_by_exact_search(tmp_path):
    run, config = make_run(tmp_path / "run", index="ivf")
    meta = tmp_path / "run/index/meta.json"
    record = msgspec.json.decode(meta.read_bytes())
    meta.write_bytes(msgspec.json.encode({**record, "nprobe": 1}))
    compile_chain(run, config, tmp_path / "chain", "serve")
    chain = Chain.load(tmp_path / "chain")
    everything_but_forty = np.array([[item_id(row, False) for row in range(40, 300)]])
    request = {"user_id": np.array([[user_id(0, False)]]), "exclude_item_ids": everything_but_forty}
    answer = chain.recommend({**request, "slate_size": np.array([[20]], np.int32)})
    expected = Oracle(tmp_path / "run", config.chain).slate(
        user_id(0, False), exclude=everything_but_forty[0].tolist(), size=20
    )
    assert answer["item_id"][0].tolist() == expected[0]
