"""Rules of slates in a real Triton: both layouts show what the chain here shows, ordered and drawn."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from ensemble.config import ChainConfig
from ensemble.config_order import BoostRule, CalibrateRule, CapRule, FloorRule, OrderConfig, PinRule
from ensemble.export.compile import compile_chain
from ensemble.export.stage import export
from ensemble.serving.repository import find_repository
from ensemble.serving.triton import TritonServer
from runtime.chain import Chain
from tests.ensemble.synthetic import item_id, make_run

pytestmark = [pytest.mark.triton, pytest.mark.slow]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    root = tmp_path_factory.mktemp("rules")
    run, config = make_run(root / "run")
    chain = ChainConfig(
        num_candidates=30,
        slate_size=5,
        max_slate_size=20,
        instances=1,
        boosts=[BoostRule(column="price", op="<", value=0.0, times=3.0)],
        pins=[PinRule(item=item_id(40, False), slot=2)],
        caps=[CapRule(column="category", most=1)],
        floors=[
            FloorRule(column="price", op="<", value=-1.0, least=1, top=3),
            FloorRule(column="price", op=">", value=0.5, share=0.2),
        ],
        order=OrderConfig(
            diversity="dpp",
            strength=0.4,
            alike=("category", "in_stock"),
            calibrate=CalibrateRule(column="category", strength=0.2),
            explore="softmax",
            share=0.5,
        ),
    )
    config = msgspec.structs.replace(config, chain=chain)
    export(run, config)
    compile_chain(run, config, root / "chain", "serve")
    return run.root, Chain.load(root / "chain")


@pytest.mark.parametrize("layout", ["fused", "ensemble"])
def test_slates_are_those_of_the_chain_here(exported, layout):
    from cascade_client import CascadeClient

    root, chain = exported
    users = [1000 + 2 * row for row in range(12)] + [-5]
    with TritonServer(find_repository(root, layout)) as server, CascadeClient(server.grpc_url) as client:
        slates = client.recommend(users, seed=list(range(13)))
    answer = chain.recommend({"user_id": np.array(users)[:, None], "seed": np.arange(13)[:, None]})
    assert [slate.item_ids for slate in slates] == answer["item_id"].tolist()
    assert [slate.log_propensity for slate in slates] == answer["log_propensity"].tolist()
    assert 0 < sum(slate.explored for slate in slates) < 13
