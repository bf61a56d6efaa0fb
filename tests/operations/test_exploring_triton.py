"""A server that draws slates: the ones of the chain here, over both protocols; logged so that each is drawn again."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ensemble.export.compile import compile_chain
from ensemble.export.stage import export
from ensemble.serving.repository import find_repository
from ensemble.serving.request_log import prepare_log
from ensemble.serving.triton import TritonServer
from ensemble.slates.ask import Asker
from operations.folder import parquet_files
from operations.log.collect import collect
from operations.replay.replay import replay
from operations.replay.worker import parsed
from operations.why.explain import Explainer
from operations.why.question import Question
from runtime.chain import Chain
from runtime.explore import log_propensities
from runtime.log.folder import LogSettings
from tests.ensemble.exploring import TEMPERATURE, make_exploring_run

pytestmark = [pytest.mark.triton, pytest.mark.slow]

USERS, STRANGER = [1000 + 2 * row for row in range(12)], -5


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    root = tmp_path_factory.mktemp("exploring")
    run, config = make_exploring_run(root / "run")
    export(run, config)
    compile_chain(run, config, root / "chain", "serve")
    return run.root, Chain.load(root / "chain")


@pytest.fixture(scope="module", params=["fused", "ensemble"])
def served(request, exported, tmp_path_factory):
    """What a layout has answered, by request id, and its collected log."""
    from cascade_client import CascadeClient, RequestRefused

    root, repository = tmp_path_factory.mktemp(request.param), find_repository(exported[0], request.param)
    settings = LogSettings(root / "LOG", 1.0, ("web",))
    prepare_log(settings, repository)
    found = {}
    with TritonServer(repository, request_log=settings) as server:
        for url in (server.grpc_url, server.http_url):
            with CascadeClient(url) as client:
                for policy in (None, "softmax", "deterministic"):
                    for seed in (None, 7, list(range(13))):
                        slates = client.recommend([*USERS, STRANGER], seed=seed, policy=policy)
                        found[slates.request_id] = (seed, policy, list(slates))
                with pytest.raises(RequestRefused, match="force_policy must be 'deterministic' or 'softmax'"):
                    client.recommend(USERS, policy="greedy")
                assert "seed" not in client.context_features
        with Asker(server.grpc_url) as asker:
            cached = [slate for _ in range(3) for answer in asker.slates([USERS], 5) for slate in answer.slates]
    collect(root / "LOG", root / "MON")
    return root, exported[1], found, cached


def test_slates_are_those_of_the_chain_here(served):
    _, chain, found, _ = served
    drawn = []
    for seed, policy, slates in found.values():
        seeds = [slate.seed for slate in slates]
        assert seed is None or seeds == ([seed] * 13 if isinstance(seed, int) else seed)
        asked = np.array([[(policy or "").encode()]] * 13, object)
        users = np.array([[slate.user_id] for slate in slates])
        answer = chain.recommend({"user_id": users, "seed": np.array(seeds)[:, None], "force_policy": asked})
        for row, slate in enumerate(slates):
            assert slate.item_ids == answer["item_id"][row].tolist()
            assert slate.log_propensity == answer["log_propensity"][row].tolist()
            assert (slate.explored, slate.policy) == (answer["explored"][row, 0], answer["policy"][row, 0].decode())
            drawn.append((policy, slate.explored))
    assert {policy: explored for policy, explored in drawn if policy} == {"softmax": True, "deterministic": False}
    assert 0 < sum(explored for policy, explored in drawn if not policy) < 6 * 13


def test_slates_of_a_cache_are_never_drawn(served):
    *_, cached = served
    assert len(cached) == 36 and not any(slate.explored for slate in cached)


def rows_of(mon):
    tables = (pq.ParquetFile(path).read().unify_dictionaries() for path in parquet_files(mon))
    return [row for row in pa.concat_tables(tables).to_pylist() if row["error"] is None]


def test_the_log_holds_every_draw_and_what_it_was_drawn_from(served):
    root, _, found, _ = served
    rows = [row for row in rows_of(root / "MON") if row["request_id"] in found]
    assert len(rows) == len(found) * 13
    for row in rows:
        _, policy, slates = found[row["request_id"]]
        slate = slates[row["position"]]
        assert (row["explored"], row["policy"], row["seed"]) == (slate.explored, slate.policy, slate.seed)
        assert row["log_propensity"] == slate.log_propensity and row["forced"] == (policy is not None)
        if not slate.explored:
            assert row["candidate_rows"] is row["candidate_scores"] is row["temperature"] is None
            continue
        places = [row["candidate_rows"].index(item) for item in row["item_rows"]]
        assert row["temperature"] == np.float32(TEMPERATURE)
        logs = log_propensities(np.array(row["candidate_scores"]), np.array(places), TEMPERATURE)
        np.testing.assert_allclose(logs, row["log_propensity"], atol=1e-6)


def test_every_slate_is_drawn_again(served):
    root, *_ = served
    again = replay(root / "MON", last=1000)
    assert again.num_requests > 18 and (again.differing, again.rounded) == ({}, set())


def test_why_says_the_probability_of_a_drawn_place_and_that_an_item_was_not_drawn(exported):
    root, chain = exported
    force = np.array([[b"softmax"]], object)
    answer = chain.recommend({"user_id": np.array([[1006]]), "seed": np.array([[1]]), "force_policy": force})
    ids = np.load(root / "data/ids/items.npy")
    rows = np.searchsorted(ids, answer["item_id"][0])
    nothing = {"user_row": [3], "recent": [[]], "excluded": [[]], "slate_size": [5], "seed": [1], "policy": ["softmax"]}
    context = {column.name: [None] for column in chain.spec.context_columns}
    question = parsed({**nothing, "context": context}, chain.spec)
    explainer = Explainer(root)
    shown = explainer.answer(Question(int(rows[2]), question), item="", user=None)
    assert shown.outcome.place == 3
    assert f"drawn for it with probability {np.exp(answer['log_propensity'][0, 2]):.4f}" in shown.steps[-1].words
    candidates = chain.sampled[0][0]
    other = next(int(row) for row in candidates if row >= 0 and row not in rows)
    left = explainer.answer(Question(other, question), item="", user=None)
    assert left.outcome.place is None and "drawn at random, and the item was not drawn" in left.steps[-1].words
