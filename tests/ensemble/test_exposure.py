"""The audit of exposure: shares against counts over the slates of the compiled chains."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from ensemble.config import ChainConfig
from ensemble.config_order import CapRule, OrderConfig
from ensemble.export.compile import compile_chain
from ensemble.exposure import measure_exposure
from runtime.chain import Chain
from tests.ensemble.synthetic import make_run, user_id
from workflows.core.errors import ArtefactError, ConfigError
from workflows.core.run import Run

# The context of the only event of the run.
EVENT = {"device": np.array([[b"phone"]], object), "hour": np.array([[3]]), "temperature": np.array([[20.0]])}
SIZES = {"num_candidates": 30, "slate_size": 5, "max_slate_size": 20, "instances": 1}


def test_shares_are_those_of_the_served_slates(tmp_path):
    run, config = make_run(tmp_path / "run")
    items = pq.read_table(run.folder("data") / "items.parquet").to_pydict()
    of = dict(zip(items["item_id"], items["category"], strict=True))
    caps, order = [CapRule(column="category", most=1)], OrderConfig(explore="softmax")
    found = measure_exposure(
        run, msgspec.structs.replace(config, chain=ChainConfig(**SIZES, caps=caps, order=order)), "category"
    )
    groups = {group.value: group for group in found.groups}
    assert found.num_users == 60 and found.slate_size == 5 and 0 < found.loss < 1
    assert set(groups) == set(items["category"])
    for place, rules in enumerate(({}, {"caps": caps})):
        chain = msgspec.structs.replace(config, chain=ChainConfig(**SIZES, **rules))
        compile_chain(run, chain, tmp_path / f"chain{place}", "eval")
        served = Chain.load(tmp_path / f"chain{place}")
        slates = [
            served.recommend({"user_id": np.array([[user_id(n, False)]]), **EVENT})["item_id"][0] for n in range(60)
        ]
        shown = [[of[item] for item in slate.tolist()] for slate in slates]
        for value, group in groups.items():
            assert group.places[place] == pytest.approx(sum(one.count(value) for one in shown) / 300)
            weights = [sum((v == value) / math.log2(n + 2) for n, v in enumerate(one)) for one in shown]
            assert group.seen[place] == pytest.approx(sum(weights) / 60 / sum(1 / math.log2(n + 2) for n in range(5)))
            assert group.by_place[place][0] == pytest.approx(sum(one[0] == value for one in shown) / 60)
    history = np.load(run.folder("data") / "state/eval/history.npy")
    codes = pq.read_table(run.folder("features") / "items/part_000.parquet")["item_id"].to_pylist()
    # An item without a code of its own is out of vocabulary: a chain does not know it in a history.
    taken = [items["category"][row] for row in history[history >= 0].tolist() if codes[row] > 2]
    for value, group in groups.items():
        assert group.taken == pytest.approx(taken.count(value) / len(taken))
    for name in ("items", "taken", "candidates"):
        assert sum(getattr(group, name) for group in found.groups) == pytest.approx(1.0)
    assert [group.places[1] for group in found.groups] == sorted((g.places[1] for g in found.groups), reverse=True)


def test_a_column_that_is_not_there_is_named(tmp_path):
    run, config = make_run(tmp_path / "run")
    with pytest.raises(ConfigError, match="--column = 'provider' is no column of the items"):
        measure_exposure(run, config, "provider")
    with pytest.raises(ArtefactError, match="data"):
        measure_exposure(Run(tmp_path / "nothing"), config, "category")
