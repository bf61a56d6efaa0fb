"""Boosts, pins, caps, floors and diversity of a compiled chain: what the config says, the slates show."""

from __future__ import annotations

import json
import math
from datetime import date, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from ensemble.config import ChainConfig
from ensemble.config_file import load_config
from ensemble.config_order import BoostRule, CalibrateRule, CapRule, FloorRule, OrderConfig, PinRule, end_of
from ensemble.export.compile import compile_chain
from ensemble.export.eligibility import eligible_items
from ensemble.export.parity import check_parity
from ensemble.export.slate_rules import ended_rules
from runtime.chain import Chain
from runtime.explore import log_propensities
from runtime.rerank import SlateRuler
from runtime.stream.live import at_instant
from tests.ensemble.oracle import Oracle
from tests.ensemble.synthetic import UTILITY, item_id, make_run, user_id
from workflows.core.errors import ConfigError

SIZES = {"num_candidates": 30, "slate_size": 5, "max_slate_size": 20, "instances": 1}
RULES = {
    "boosts": [
        BoostRule(column="price", op="<", value=0.0, times=3.0),
        BoostRule(column="price", op=">", value=1.0, add=-1.0),
    ],
    "caps": [CapRule(column="category", most=2)],
    "floors": [FloorRule(column="price", op="<", value=-1.0, least=1, top=3)],
}


def made(folder: Path, **chain: Any) -> tuple[Any, Any, Chain]:
    run, config = make_run(folder / "run")
    config = msgspec.structs.replace(config, chain=ChainConfig(**SIZES, **chain))
    compile_chain(run, config, folder / "chain", "serve")
    return run, config, Chain.load(folder / "chain")


def ask(chain: Chain, row: int, **more: Any) -> dict[str, np.ndarray]:
    return chain.recommend({"user_id": np.array([[user_id(row, False)]]), **more})


# The context of the only event of the run, in which an export asks for the slates that it chooses by.
EVENT = {"device": np.array([[b"phone"]], object), "hour": np.array([[3]]), "temperature": np.array([[20.0]])}


@pytest.fixture(scope="module")
def items(tmp_path_factory: Any) -> dict[str, list]:
    run, _ = make_run(tmp_path_factory.mktemp("items") / "run")
    return pq.read_table(run.folder("data") / "items.parquet").to_pydict()


def test_slates_are_those_of_a_loop_over_the_oracles_candidates(tmp_path, items):
    run, _, chain = made(tmp_path, **RULES)
    oracle = Oracle(run.root, chain.spec)
    for row in (0, 3, 7, 10_000):
        ids, scores, path = oracle.slate(user_id(row, False), size=30)
        rows = [oracle.items.index(item) for item in ids]
        value = {}
        for item, score in zip(rows, scores, strict=True):
            logit = math.log(max(score, 1e-9)) if path == "popularity" else math.log(score / (1 - score))
            price = items["price"][item]
            value[item] = logit + (math.log(3) if price < 0 else 0) - (1 if price > 1 else 0)
        slate: list[int] = []
        for place in range(5):
            left = [item for item in rows if item not in slate]
            of = [items["category"][item] for item in slate]
            allowed = [
                item for item in left if items["category"][item] is None or of.count(items["category"][item]) < 2
            ]
            allowed = allowed or left
            cheap = [item for item in allowed if items["price"][item] < -1]
            if place == 2 and cheap and not any(items["price"][item] < -1 for item in slate):
                allowed = cheap
            slate.append(min(allowed, key=lambda item: (-value[item], item)))
        answer = ask(chain, row)
        assert answer["item_id"][0].tolist() == [oracle.items[item] for item in slate]
        shown = dict(zip(rows, scores, strict=True))
        np.testing.assert_allclose(answer["score"][0], [shown[item] for item in slate], rtol=2e-5, atol=1e-7)


def test_a_pinned_item_is_shown_to_everybody_who_may_see_it(tmp_path):
    run, config = make_run(tmp_path / "plain")
    eligible = np.flatnonzero(eligible_items(run.folder("data") / "items.parquet", config))
    first, second = (int(item) for item in eligible[[5, 40]])
    pins = [PinRule(item=item_id(first, False), slot=2), PinRule(item=item_id(second, False), slot=1)]
    run, _, chain = made(tmp_path, pins=pins)
    indptr, seen_rows = (np.load(run.root / f"data/state/serve/seen_{n}.npy") for n in ("indptr", "rows"))
    for row in (*range(40), 10_000):
        seen = set() if row >= 60 else set(seen_rows[indptr[row] : indptr[row + 1]].tolist())
        shown = ask(chain, row)["item_id"][0].tolist()
        for slot, item in ((1, first), (0, second)):
            assert (shown[slot] == item_id(item, False)) == (item not in seen)
    hidden = ask(chain, 3, exclude_item_ids=np.array([[item_id(second, False)]]))["item_id"][0].tolist()
    assert item_id(second, False) not in hidden


DAY_NS = 86_400 * 10**9
CHRISTMAS = 20_812 * DAY_NS  # 2026-12-25


def test_a_rule_holds_to_the_end_of_its_last_day(tmp_path):
    """Of a served chain, without another export; a pinned item then is a candidate like others."""
    run, config = make_run(tmp_path / "plain")
    eligible = np.flatnonzero(eligible_items(run.folder("data") / "items.parquet", config))
    pins = [
        PinRule(item=item_id(int(eligible[5]), False), slot=2, until=date(2999, 12, 24)),
        PinRule(item=item_id(int(eligible[40]), False), slot=1, until=datetime(2999, 12, 24, 18)),
    ]
    end = PinRule(item=1, slot=1, until=date(2026, 12, 24))
    assert end_of(end.until) == end_of("2026-12-24") == end_of("2026-12-25T00:00:00Z") == CHRISTMAS
    _, _, chain = made(tmp_path, pins=pins)
    first, second = (end_of(pin.until) for pin in pins)
    assert first - second == 6 * 3600 * 10**9
    shown = {}
    for name, instant in (("before", second - 1), ("evening", second), ("after", first)):
        with at_instant(instant):
            shown[name] = ask(chain, 10_000)["item_id"][0].tolist()
    _, _, plain = made(tmp_path / "without")
    assert shown["before"][:2] == [pins[1].item, pins[0].item]
    assert shown["evening"][1] == pins[0].item != shown["evening"][0] != pins[1].item
    assert shown["after"] == ask(plain, 10_000)["item_id"][0].tolist()


def test_an_export_leaves_out_what_has_ended(tmp_path):
    """Also what could not be exported any more: the item of an old campaign is gone, its column too."""
    ended = date(2001, 2, 3)
    rules = {
        "pins": [PinRule(item=3, slot=1, until=ended), PinRule(item=item_id(5, False), slot=1)],
        "boosts": [BoostRule(column="brand", op="==", value="x", add=1.0, until=ended)],
        "caps": [CapRule(column="brand", most=1, until=ended)],
        "floors": [FloorRule(column="price", op="<", value=-100.0, least=1, until="2001-02-03T00:00:00+01:00")],
    }
    _, config, chain = made(tmp_path, **rules)
    slates = chain.spec.order.slates
    assert [pin.slot for pin in slates.pins] == [1] and not (slates.boosts or slates.caps or slates.floors)
    assert list(ended_rules(config.chain))[:2] == [
        "chain.boosts[0] (until 2001-02-03)",
        "chain.pins[0] (until 2001-02-03)",
    ]
    with pytest.raises(ConfigError, match=r"chain\.pins\[1\]\.item = 4 is not in the catalogue"):
        made(tmp_path / "other", pins=[rules["pins"][0], PinRule(item=4, slot=1)])


def test_rules_act_on_what_the_items_are_worth(tmp_path, items):
    run, config = make_run(tmp_path / "run", utility=UTILITY)
    slates: dict[str, dict] = {}
    for name, rules in (
        ("plain", {"slate_size": 20}),
        ("ruled", {"boosts": [BoostRule(column="price", op="<", value=0.0, add=0.4)], "caps": RULES["caps"]}),
    ):
        chain = ChainConfig(**{**SIZES, "num_candidates": 20, **rules}, order=config.chain.order)
        compile_chain(run, msgspec.structs.replace(config, chain=chain), tmp_path / name, "serve")
        slates[name] = ask(Chain.load(tmp_path / name), 3)
    ids = np.load(run.root / "data/ids/items.npy")
    rows = np.searchsorted(ids, slates["plain"]["item_id"][0]).tolist()
    worth = dict(zip(rows, slates["plain"]["utility"][0].tolist(), strict=True))
    wanted: list[int] = []
    for row in sorted(rows, key=lambda row: (-worth[row] - 0.4 * (items["price"][row] < 0), row)):
        of = [items["category"][other] for other in wanted]
        if items["category"][row] is None or of.count(items["category"][row]) < 2:
            wanted.append(row)
    ruled = slates["ruled"]
    assert np.searchsorted(ids, ruled["item_id"][0]).tolist() == wanted[:5] != rows[:5]
    assert ruled["utility"][0].tolist() == [worth[row] for row in wanted[:5]]


@pytest.mark.parametrize("diversity", ["mmr", "dpp"])
def test_diversity_makes_a_slate_of_less_alike_items(tmp_path, diversity):
    run, _, plain = made(tmp_path / "plain")
    _, _, chain = made(tmp_path / "diverse", order=OrderConfig(diversity=diversity, strength=0.9))
    vectors = np.load(run.root / "retrieval/item_embeddings.npy")
    ids = np.load(run.root / "data/ids/items.npy")

    def alikeness(answer: dict) -> float:
        own = vectors[np.searchsorted(ids, answer["item_id"][0])]
        own = own / np.linalg.norm(own, axis=1, keepdims=True)
        return float((own @ own.T)[np.triu_indices(5, 1)].max())

    users = range(3, 33)
    before, after = (np.mean([alikeness(ask(each, row)) for row in users]) for each in (plain, chain))
    assert after < before - 0.1


@pytest.mark.parametrize("diversity", ["mmr", "dpp"])
def test_items_that_are_alike_by_their_columns_are_spread(tmp_path, diversity, items, capsys):
    """Of two of a category one comes later; the export says what its strength does to that and to cosines."""
    order = OrderConfig(diversity=diversity, alike=("category", "in_stock"), strength="auto", max_utility_loss=0.2)
    _, _, plain = made(tmp_path / "plain")
    capsys.readouterr()
    _, _, chain = made(tmp_path / "diverse", order=order)
    said = " ".join(capsys.readouterr().err.split())
    assert "the cosine by the item tower" in said and "the share with the same category" in said
    before, after = (
        [same for row in range(3, 33) for same in _same(ask(each, row)["item_id"][0], items)] for each in (plain, chain)
    )
    assert np.mean(after) < 0.7 * np.mean(before)


def test_a_chain_without_these_keys_says_nothing_of_them(tmp_path):
    """Its file is what earlier releases wrote, to the byte; they can read it."""
    made(tmp_path, **RULES, order=OrderConfig(diversity="mmr"))
    slates = json.loads((tmp_path / "chain/chain.json").read_text())["order"]["slates"]
    assert set(slates) == {"boosts", "caps", "floors", "pins", "diversity"}
    assert set(slates["diversity"]) == {"kind", "weight"}


def _same(shown, items):
    """Of each pair of items of a slate whether they are of one category."""
    of = dict(zip(items["item_id"], items["category"], strict=True))
    values = [of[item] for item in shown.tolist()]
    return [a == b is not None for n, a in enumerate(values) for b in values[:n]]


def test_calibrated_slates_are_those_of_a_loop_over_the_oracles_candidates(tmp_path, items):
    order = OrderConfig(calibrate=CalibrateRule(column="category", strength=0.3))
    run, _, chain = made(tmp_path, order=order)
    _, _, plain = made(tmp_path / "without")
    oracle, differ = Oracle(run.root, chain.spec), 0
    for row, recent in ((0, ()), (3, (5, 6)), (7, ()), (10_000, (4,)), (10_000, ())):
        recent_ids = [item_id(item, False) for item in recent]
        ids, scores, path = oracle.slate(user_id(row, False), recent=recent_ids, size=30)
        stored = [int(item) for item in oracle.history[row] if item >= 0] if row < 60 else []
        had = [items["category"][item] for item in [*stored, *recent][-6:]]
        had = [value for value in had if value is not None]
        rows = [oracle.items.index(item) for item in ids]
        logit = {
            item: math.log(max(score, 1e-9)) if path == "popularity" else math.log(score / (1 - score))
            for item, score in zip(rows, scores, strict=True)
        }
        slate: list[int] = []
        for _ in range(5):
            value = {}
            for item in [item for item in rows if item not in slate]:
                value[item] = logit[item]
                if had:
                    both = [[items["category"][one] for one in shown] for shown in (slate, [*slate, item])]
                    value[item] += 0.3 / 0.7 * 5 * (_divergence(had, both[0]) - _divergence(had, both[1]))
            slate.append(min(value, key=lambda item: (-round(value[item], 5), item)))
        request = {"recent_item_ids": np.array([recent_ids])} if recent else {}
        shown = ask(chain, row, **request)["item_id"][0].tolist()
        assert shown == [oracle.items[item] for item in slate]
        differ += shown != ask(plain, row, **request)["item_id"][0].tolist()
    assert differ >= 2 and not had


def _divergence(had, shown):
    shares = {value: had.count(value) / len(had) for value in had}
    return sum(p * math.log(p / (0.99 * shown.count(value) / 5 + 0.01 * p)) for value, p in shares.items())


@pytest.mark.parametrize("diversity", ["mmr", "dpp"])
def test_a_strength_is_as_large_as_what_it_may_cost(tmp_path, diversity, capsys):
    """By a loop over the slates of the served chain: the chosen strength costs at most so much, the next one more."""
    order = OrderConfig(diversity=diversity, strength="auto", max_utility_loss=0.1)
    run, config, _ = made(tmp_path / "auto", caps=RULES["caps"], order=order)
    said = " ".join(capsys.readouterr().err.split())
    compile_chain(run, config, tmp_path / "chain", "eval")
    chosen = Chain.load(tmp_path / "chain").spec.order.slates.diversity.weight
    strength = round(chosen / (1 + chosen), 6)
    assert 0 < strength < 0.95 and f"chain.order.strength: {strength:g}, by slates of 60 users" in " ".join(
        said.split()
    )
    worth = {}
    for each in (None, strength, strength + 0.05):
        own = OrderConfig() if each is None else OrderConfig(diversity=diversity, strength=each)
        each_config = msgspec.structs.replace(config, chain=ChainConfig(**SIZES, caps=RULES["caps"], order=own))
        compile_chain(run, each_config, tmp_path / f"chain{each}", "eval")
        chain = Chain.load(tmp_path / f"chain{each}")
        slates = [ask(chain, row, **EVENT)["score"][0] for row in range(60)]
        worth[each] = sum(float(score) / math.log2(place + 2) for slate in slates for place, score in enumerate(slate))
    assert 1 - worth[strength] / worth[None] <= 0.1 < 1 - worth[strength + 0.05] / worth[None]


def test_the_merlin_graph_and_a_batch_give_the_same(tmp_path):
    from ensemble.graph import chain as drawn_chain
    from ensemble.graph import request_table
    from ensemble.operators.runtime import RepositoryRuntime

    calibrate = CalibrateRule(column="category")
    explore = OrderConfig(explore="softmax", share=0.5, diversity="mmr", strength=0.4, calibrate=calibrate)
    _, _, chain = made(tmp_path, **RULES, order=explore)
    users = [3, 5, 10_000, 8, 0]
    request = {"user_id": np.array([[user_id(row, False)] for row in users]), "seed": np.arange(5)[:, None]}
    together = chain.recommend(request)
    table = drawn_chain(tmp_path / "chain").transform(request_table(chain.spec, request), runtime=RepositoryRuntime())
    assert {name: table[name].values.tolist() for name in table} == {n: v.tolist() for n, v in together.items()}
    assert 0 < together["explored"].sum() < 5
    for place, row in enumerate(users):
        alone = ask(chain, row, seed=np.array([[place]]))
        assert {n: v[0].tolist() for n, v in alone.items()} == {n: v[place].tolist() for n, v in together.items()}


def test_a_drawn_slate_keeps_the_rules_and_says_its_probability(tmp_path, items):
    _, _, chain = made(tmp_path, **RULES, order=OrderConfig(explore="softmax", share=1.0, temperature=3.0))
    ids = np.load(tmp_path / "run/data/ids/items.npy")
    ruler = SlateRuler.open(chain.spec.order.slates, tmp_path / "chain")
    slates = set()
    for seed in range(40):
        answer = ask(chain, 3, seed=np.array([[seed]]))
        rows = np.searchsorted(ids, answer["item_id"][0])
        categories = [items["category"][row] for row in rows]
        assert max(categories.count(one) for one in categories if one is not None) <= 2
        assert any(items["price"][row] < -1 for row in rows[:3])
        slates.add(tuple(rows.tolist()))
        candidates, utilities = chain.sampled
        places = np.array([[np.flatnonzero(candidates[0] == row)[0] for row in rows]])
        logs = log_propensities(utilities, places, 3.0, ruler.rules(candidates, np.array([5])))
        assert logs.astype(np.float32).tolist() == answer["log_propensity"].tolist()
    assert len(slates) > 30


def test_the_check_before_an_export_knows_the_rules(tmp_path):
    run, config, _ = made(tmp_path, **RULES, pins=[PinRule(item=item_id(40, False), slot=1)])
    eligible = eligible_items(run.folder("data") / "items.parquet", config)
    assert check_parity(run, tmp_path / "chain", eligible) > 5


@pytest.mark.parametrize(
    ("chain", "sentence"),
    [
        ({"pins": [PinRule(item=3, slot=1)]}, r"chain\.pins\[0\]\.item = 3 is not in the catalogue"),
        ({"pins": [PinRule(item="x", slot=1)]}, r"chain\.pins\[0\]\.item = 'x' is not in .* integers"),
        ({"order": OrderConfig(diversity="mmr", alike=("brand",))}, r"chain\.order\.alike = 'brand' is no column"),
        (
            {"order": OrderConfig(calibrate=CalibrateRule(column="brand"))},
            r"chain\.order\.calibrate\.column = 'brand' is no column of the items",
        ),
        (
            {"floors": [FloorRule(column="price", op="<", value=-100.0, share=0.1)]},
            r"chain\.floors\[0\]\.share = 0\.1, and of the places of slates at most 0 can show items of its kind",
        ),
        ({"floors": [FloorRule(column="brand", op="==", value=1, share=0.1)]}, r"floors\[0\]\.column = 'brand' is no"),
        ({"caps": [CapRule(column="brand", most=1)]}, r"chain\.caps\[0\]\.column = 'brand' is no column of the items"),
        (
            {"boosts": [BoostRule(column="price", op="<", value="cheap", add=1.0)]},
            r"chain\.boosts\[0\]\.value = .* cannot be compared with the items' 'price'",
        ),
        (
            {"floors": [FloorRule(column="price", op="<", value=-100.0, least=1)]},
            r"chain\.floors\[0\] wants at least 1 items, and 0 of those that may be shown",
        ),
    ],
)
def test_rules_that_no_slate_can_follow_are_refused_at_the_export(tmp_path, chain, sentence):
    with pytest.raises(ConfigError, match=sentence):
        made(tmp_path, **chain)


BASE = """[data]
source = "shop"
timestamp = "timestamp"
labels = ["click"]
[chain]
slate_size = 5
max_slate_size = 20
"""


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        (
            "boosts = [{column = 'price', op = '<', value = 3}]",
            r"chain\.boosts\[0\] needs one of times and add, got none",
        ),
        (
            "boosts = [{column = 'price', op = '<', value = 3, times = 2, add = 1}]",
            r"boosts\[0\] needs .* got both",
        ),
        ("boosts = [{column = 'price', op = '<', value = 3, times = -2}]", r"chain\.boosts.*times"),
        ("boosts = [{column = 'price', op = 'in', value = 3, times = 2}]", r"chain\.boosts\[0\]\.value must be a list"),
        (
            "floors = [{column = 'price', op = '<', value = 3}]",
            r"chain\.floors\[0\] needs one of least and share, got none",
        ),
        (
            "floors = [{column = 'price', op = '<', value = 3, least = 1, share = 0.1}]",
            r"floors\[0\] needs one of least and share, got both",
        ),
        (
            "floors = [{column = 'brand', op = '==', value = 'a', share = 0.6}]\ncaps = [{column = 'brand', most = 2}]",
            r"floors\[0\] wants at least 3 items of 5 with brand == 'a', of which chain\.caps\[0\] lets 2 be shown",
        ),
        (
            "floors = [{column = 'brand', op = '==', value = 'a', share = 0.6}, "
            "{column = 'brand', op = '==', value = 'b', share = 0.5}]",
            r"chain\.floors\[0\], chain\.floors\[1\] want 1\.1 of the places for different brand, and there is 1",
        ),
        (
            "pins = [{item = 1, slot = 2}, {item = 2, slot = 2}]",
            r"pins\[0\] and .*pins\[1\] have the same slot, 2",
        ),
        (
            "pins = [{item = 1, slot = 2}, {item = 1, slot = 3}]",
            r"pins\[0\] and .*pins\[1\] have the same item, 1",
        ),
        ("pins = [{item = 1, slot = 21}]", r"chain\.pins\[0\]\.slot = 21 is more than chain\.max_slate_size = 20"),
        ("pins = [{item = 1, slot = 0}]", r"chain\.pins"),
        ("caps = [{column = 'brand', most = 0}]", r"chain\.caps"),
        (
            "caps = [{column = 'brand', most = 1, until = 3}]",
            r"chain\.caps\[0\]\.until must be a date or a timestamp from 1970 on, such as .*: 3 is neither",
        ),
        ("pins = [{item = 1, slot = 1, until = 'soon'}]", r"chain\.pins\[0\]\.until must be a date .*'soon'"),
        ("pins = [{item = 1, slot = 1, until = 1969-01-01}]", r"chain\.pins\[0\]\.until .* is before 1970"),
        ("caps = [{column = 'brand', most = 1, top = 21}]", r"chain\.caps\[0\]\.top = 21 is more than"),
        (
            "floors = [{column = 'price', op = '<', value = 3, least = 4, top = 3}]",
            r"floors\[0\]\.least = 4 is more than top = 3 has",
        ),
        (
            "caps = [{column = 'brand', most = 1}]\nfloors = [{column = 'brand', op = '==', value = 'x', least = 2}]",
            r"floors\[0\] wants at least 2 items with brand == 'x', of which chain\.caps\[0\] lets 1 be shown",
        ),
        (
            "floors = [{column='b', op='==', value='x', least=3}, {column='b', op='==', value='y', least=3}]",
            r"floors\[0\], chain\.floors\[1\] want 6 items with different b among 5 places",
        ),
        (
            "order.utility = 'click'\nboosts = [{column = 'price', op = '<', value = 3, times = 2}]\n"
            "[ranking.tasks.click]\nlabel = 'click'",
            r"boosts\[0\]\.times is a factor of the odds, and chain\.order\.utility is none; give `add`",
        ),
        ("layouts = ['fused', 'merlin']\ncaps = [{column = 'brand', most = 1}]", r"chain\.layouts has 'merlin'"),
        ("order.strength = 0.5", r"chain\.order\.strength"),
        ("order.diversity = 'mmr'\norder.strength = 1.0", r"chain\.order\.strength"),
        ("order.diversity = 'mmr'\norder.strength = 'most'", r"chain\.order\.strength"),
        ("order.diversity = 'mmr'\norder.max_utility_loss = 0.1", r"chain\.order\.max_utility_loss"),
    ],
)
def test_conflicts_are_found_when_the_config_is_read(tmp_path, rules, sentence):
    (tmp_path / "shop.toml").write_text(BASE + rules + "\n")
    with pytest.raises(ConfigError, match=sentence):
        load_config(tmp_path / "shop.toml", [])


def test_pins_against_caps_and_floors_are_found_at_the_export(tmp_path, items):
    run, config = make_run(tmp_path / "plain")
    eligible = np.flatnonzero(eligible_items(run.folder("data") / "items.parquet", config))
    dear = [int(row) for row in eligible if items["price"][row] >= 0]
    same = [row for row in dear if items["category"][row] == items["category"][dear[0]]][:2]
    pins = [PinRule(item=item_id(row, False), slot=slot) for slot, row in enumerate(same, start=1)]
    with pytest.raises(ConfigError, match=r"chain\.pins show 2 items of one category, of which .*caps\[0\] allows 1"):
        made(tmp_path / "caps", pins=pins, caps=[CapRule(column="category", most=1)])
    floor = FloorRule(column="price", op="<", value=0.0, least=2, top=3)
    with pytest.raises(ConfigError, match=r"chain\.floors\[0\] wants 2 of 3 places, and chain\.pins give 2"):
        made(tmp_path / "floors", pins=pins, floors=[floor])


def test_a_chain_without_rules_has_no_word_of_them(tmp_path):
    made(tmp_path)
    text = (tmp_path / "chain/chain.json").read_text() + (tmp_path / "chain/plan.json").read_text()
    assert "slates" not in json.loads((tmp_path / "chain/chain.json").read_text())
    assert "pinned" not in text and not (tmp_path / "chain/order").exists()
