"""A chain that explores: here, as Merlin's graph and by hand the same slates; one that does not is what it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from ensemble.config import ChainConfig
from ensemble.config_file import load_config
from ensemble.config_order import OrderConfig
from ensemble.export.compile import compile_chain
from ensemble.export.layouts import Names, write_layout
from runtime.chain import Chain
from runtime.errors import BadRequest
from runtime.explore import log_propensities
from runtime.plan import Plan
from runtime.request import Parsed
from tests.ensemble.exploring import CHAIN, SHARE, TEMPERATURE, DrawnOracle, make_exploring_run
from tests.ensemble.synthetic import item_id, make_run, user_id
from workflows.core.errors import ConfigError

SEEDS = (0, 7, -5, 2**62)


@pytest.fixture(scope="module", params=[False, True], ids=["int", "text"])
def world(request: Any, tmp_path_factory: Any) -> tuple[Path, Chain, DrawnOracle, bool]:
    root = tmp_path_factory.mktemp("exploring")
    run, config = make_exploring_run(root / "run", text_ids=request.param)
    compile_chain(run, config, root / "chain", "serve")
    return root / "chain", Chain.load(root / "chain"), DrawnOracle(run.root, CHAIN), request.param


def asked(rows: list[int], text_ids: bool, seeds: list[int], policy: str = "", **more: Any) -> dict[str, np.ndarray]:
    users = np.array([[user_id(row, text_ids)] for row in rows], object if text_ids else np.int64)
    policies = np.array([[policy.encode()]] * len(rows), object)
    return {"user_id": users, "seed": np.array(seeds)[:, None], "force_policy": policies, **more}


@pytest.mark.parametrize("policy", ["", "softmax", "deterministic"])
def test_slates_and_probabilities_are_those_of_the_oracle(world, policy):
    _, chain, oracle, text_ids = world
    explored = 0
    recent = [item_id(row, text_ids) for row in (4, 9, 11)]
    for row in (0, 2, 5, 17, 10_000):
        for seed in SEEDS:
            for given in ((), recent):
                more = {"recent_item_ids": np.array([given], object if text_ids else np.int64)} if given else {}
                size = {} if seed else {"slate_size": np.array([[20]], np.int32)}
                answer = chain.recommend(asked([row], text_ids, [seed], policy, **more, **size))
                ids, scores, logs, drawn = oracle.drawn(
                    user_id(row, text_ids), seed, policy, 20 if not seed else None, recent=given
                )
                assert answer["item_id"][0].tolist() == ids
                np.testing.assert_allclose(answer["score"][0], scores, rtol=2e-5, atol=1e-7)
                np.testing.assert_allclose(answer["log_propensity"][0], logs, atol=1e-4)
                assert answer["explored"].tolist() == [[drawn]] and answer["slate_seed"].tolist() == [[seed]]
                assert answer["policy"].tolist() == [[b"softmax" if drawn else b"deterministic"]]
                explored += drawn
    assert explored == {"": explored, "softmax": 40, "deterministic": 0}[policy] and (policy or 5 < explored < 35)


def test_a_user_of_a_batch_gets_what_he_gets_alone(world):
    _, chain, _, text_ids = world
    rows, seeds = [3, 10_000, 8, 0, 21], [5, 5, -1, 9, 5]
    together = chain.recommend(asked(rows, text_ids, seeds))
    for place, (row, seed) in enumerate(zip(rows, seeds, strict=True)):
        alone = chain.recommend(asked([row], text_ids, [seed]))
        assert {n: v[0].tolist() for n, v in alone.items()} == {n: v[place].tolist() for n, v in together.items()}
    many = chain.recommend_many([asked([row], text_ids, [seed]) for row, seed in zip(rows, seeds, strict=True)])
    assert np.concatenate([one["log_propensity"] for one in many]).tolist() == together["log_propensity"].tolist()


def test_the_graph_of_merlin_draws_the_same(world):
    from ensemble.graph import chain as drawn_chain
    from ensemble.graph import request_table
    from ensemble.operators.runtime import RepositoryRuntime

    folder, chain, _, text_ids = world
    request = asked([3, 5, 10_000, 8], text_ids, [1, 2, 3, 4])
    table = drawn_chain(folder).transform(request_table(chain.spec, request), runtime=RepositoryRuntime())
    expected = chain.recommend(request)
    assert {name: table[name].values.tolist() for name in table} == {n: v.tolist() for n, v in expected.items()}


def test_a_seed_that_nobody_gave_is_said_and_gives_the_slate_again(world):
    _, chain, _, text_ids = world
    one = {name: v for name, v in asked([3] * 40, text_ids, [0] * 40).items() if name == "user_id"}
    first, second = chain.recommend(one), chain.recommend(one)
    assert len(set(first["slate_seed"][:, 0].tolist()) | set(second["slate_seed"][:, 0].tolist())) == 80
    assert 0 < first["explored"].sum() < 40 and (first["slate_seed"] >= 0).all()
    again = chain.recommend({**one, "seed": first["slate_seed"]})
    assert {n: v.tolist() for n, v in again.items()} == {n: v.tolist() for n, v in first.items()}


def test_the_share_of_slates_that_is_asked_for_is_drawn_whatever_seed_a_caller_sends_to_all(world):
    _, chain, _, text_ids = world
    for seeds in ([4] * 59, list(range(59))):
        drawn = chain.recommend(asked([*range(59)], text_ids, seeds))["explored"]
        assert 15 < drawn.sum() < 45


def test_what_was_drawn_from_gives_the_probabilities_again(world):
    _, chain, _, text_ids = world
    answer = chain.recommend(asked([3, 5, 10_000], text_ids, [1, 2, 3], "softmax"))
    rows, utilities = chain.sampled
    ids = np.load(world[0] / "ids/items.npy")
    for user in range(3):
        kept = rows[user] >= 0
        shown = [np.flatnonzero(ids[rows[user][kept]] == item)[0] for item in answer["item_id"][user]]
        logs = log_propensities(utilities[user][kept], np.array(shown), TEMPERATURE)
        assert logs.astype(np.float32).tolist() == answer["log_propensity"][user].tolist()


def test_a_request_of_no_policy_draws_nothing_where_it_was_not_parsed(world):
    """Whoever makes a request of rows, as the reference of the signals does, measures the ordered slates."""
    _, chain, _, _ = world
    nothing = np.empty((9, 0), np.int32)
    context = {column.name: np.full(9, None, object) for column in chain.spec.context_columns}
    context = {n: np.full(9, np.nan) if n == "temperature" else v for n, v in context.items()}
    answer = chain.run(Parsed(np.arange(9, dtype=np.int32), nothing, nothing, np.full(9, 5, np.int32), context))
    assert not answer["explored"].any() and not answer["log_propensity"].any()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            {"force_policy": np.array([[b"greedy"]], object)},
            "force_policy must be 'deterministic' or 'softmax', or empty",
        ),
        ({"force_policy": np.array([[1]])}, "force_policy must be BYTES, got int64"),
        ({"seed": np.array([[1.5]])}, "seed must be INT64, got float64"),
        ({"seed": np.array([[2**63]], np.uint64)}, "seed must fit INT64, got 9223372036854775808"),
        ({"seed": np.array([[1, 2]])}, r"seed must have the shape \[1, 1\]"),
    ],
)
def test_a_draw_that_cannot_be_asked_for_is_refused(world, wrong, sentence):
    _, chain, _, text_ids = world
    with pytest.raises(BadRequest, match=sentence):
        chain.recommend({**asked([1], text_ids, [1]), **wrong})


class TestAChainThatDoesNot:
    """Explore."""

    def test_takes_no_seed(self, tmp_path):
        compile_chain(*make_run(tmp_path / "run"), tmp_path / "chain", "serve")
        chain = Chain.load(tmp_path / "chain")
        with pytest.raises(BadRequest, match="unknown input 'seed'"):
            chain.recommend({"user_id": np.array([[1]]), "seed": np.array([[1]])})
        assert list(chain.recommend({"user_id": np.array([[1]])})) == ["item_id", "score", "num_items", "path"]

    def test_has_the_files_that_it_had(self, tmp_path):
        run, config = make_run(tmp_path / "run")
        compile_chain(run, config, tmp_path / "chain", "serve")
        assert "order" not in json.loads((tmp_path / "chain/chain.json").read_text())
        assert "draw" not in (tmp_path / "chain/plan.json").read_text()
        for layout in ("fused", "ensemble"):
            plan = Plan.load(tmp_path / "chain")
            write_layout(tmp_path / "chain", plan, tmp_path / layout, layout, Names(1, False))
            for path in (tmp_path / layout).rglob("config.pbtxt"):
                assert not any(word in path.read_text() for word in ('"seed"', '"policy"', "explored", "propensity"))

    def test_is_what_quality_is_measured_with(self, tmp_path):
        run, config = make_exploring_run(tmp_path / "run")
        compile_chain(run, config, tmp_path / "chain", "eval")
        assert not Chain.load(tmp_path / "chain").spec.explores


def test_drawn_slates_cost_the_others_nothing(tmp_path):
    """A user whose slate is not drawn gets, bit for bit, what a chain that does not explore gives him."""
    run, config = make_exploring_run(tmp_path / "run")
    compile_chain(run, config, tmp_path / "exploring", "serve")
    plain = msgspec.structs.replace(config, chain=msgspec.structs.replace(CHAIN, order=OrderConfig()))
    compile_chain(run, plain, tmp_path / "plain", "serve")
    request = asked([*range(40)], False, [*range(40)])
    drawn = Chain.load(tmp_path / "exploring").recommend(request)
    ordered = Chain.load(tmp_path / "plain").recommend({"user_id": request["user_id"]})
    same = ~drawn["explored"][:, 0]
    assert 0 < same.sum() < 40
    for name, values in ordered.items():
        assert values[same].tolist() == drawn[name][same].tolist()


BASE = "[data]\nsource = 'shop'\ntimestamp = 'timestamp'\nlabels = ['click']\n"
ON = "chain.order.explore='softmax'"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ((ON, "chain.order.temperature=0.0"), r"chain\.order\.temperature"),
        ((ON, "chain.order.temperature=-1.0"), r"chain\.order\.temperature"),
        ((ON, "chain.order.temperature=inf"), r"chain\.order\.temperature"),
        ((ON, "chain.order.temperature=nan"), r"chain\.order\.temperature"),
        ((ON, "chain.order.share=1.5"), r"chain\.order\.share"),
        ((ON, "chain.order.share=0.0"), r"chain\.order\.share"),
        (("chain.order.explore='epsilon'",), r"chain\.order\.explore"),
        (("chain.order.exploration='softmax'",), r"chain\.order\.exploration"),
        (("chain.order.temperature=1.0",), r"chain\.order\.temperature .*explore = 'none' draws no slate"),
        ((ON, "chain.layouts=['fused', 'merlin']"), r"chain\.order\.explore .*chain\.layouts has 'merlin'"),
        ((ON, "data.context=['seed']"), r"data\.context names 'seed'.*chain\.order\.explore"),
    ],
)
def test_what_cannot_be_explored_is_refused_with_its_key(tmp_path, changes, sentence):
    (tmp_path / "shop.toml").write_text(BASE)
    with pytest.raises(ConfigError, match=sentence):
        load_config(tmp_path / "shop.toml", list(changes))


def test_a_config_without_it_keeps_its_default(tmp_path):
    (tmp_path / "shop.toml").write_text(BASE)
    assert load_config(tmp_path / "shop.toml", []).chain.order == ChainConfig().order == OrderConfig()
    assert load_config(tmp_path / "shop.toml", [ON]).chain.order.share == 0.05
    assert CHAIN.order.share == SHARE
