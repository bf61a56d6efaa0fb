"""The report's sentences of slates that follow rules."""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow.parquet as pq

from ensemble.config import ChainConfig
from ensemble.config_order import CalibrateRule, FloorRule, OrderConfig
from ensemble.evaluation.measure import Slates
from ensemble.evaluation.setting import open_setting
from ensemble.evaluation.slate_notes import slate_notes
from ensemble.evaluation.sources import _compiled
from ensemble.evaluation.stage import measure
from ensemble.export.compile import compile_chain
from runtime.calibration import divergence
from tests.ensemble.test_evaluation import make_evaluated_run


def test_the_report_says_what_the_rules_of_slates_made_of_them(tmp_path):
    run, config = make_evaluated_run(tmp_path / "run")
    setting = open_setting(run, config)
    items = pq.read_table(run.folder("data") / "items.parquet").to_pydict()
    slates = np.stack([np.random.default_rng(n).permutation(300)[:20] for n in range(len(setting.queries))]).astype(
        np.int32
    )
    order = OrderConfig(diversity="mmr", alike=("category",), calibrate=CalibrateRule(column="category"))
    floors = [
        FloorRule(column="price", op="<", value=0.0, share=0.25, top=2),
        FloorRule(column="price", op=">", value=0, least=1),
    ]
    chain = ChainConfig(slate_size=5, order=order, floors=floors)
    ruled = msgspec.structs.replace(config, chain=chain)
    found = list(slate_notes(run, ruled, setting.queries, setting.state, slates))
    category = items["category"]
    pairs = [
        category[a] == category[b] is not None
        for own in slates[:, :5].tolist()
        for n, a in enumerate(own)
        for b in own[:n]
    ]
    assert found[0].startswith("Of two items of a slate of 5, their cosine by the item tower is ")
    assert f"{np.mean(pairs):.1%} have the same category" in found[0]
    codes = {value: code for code, value in enumerate(dict.fromkeys(value for value in category if value is not None))}
    code = np.array([codes.get(value, -1) for value in category])
    history = setting.state.history[setting.queries.user_rows]
    each = [divergence(code[had[had >= 0]], code[own[:5]]) for had, own in zip(history, slates, strict=True)]
    known = [value for value in each if not np.isnan(value)]
    assert f"from the slate's is {np.mean(known):.3f}, the mean over {len(known)} users with a history" in found[1]
    share = np.mean([items["price"][row] < 0 for row in slates[:, :2].ravel().tolist()])
    assert found[2:] == [f"The items of chain.floors[0] have {share:.1%} of the places; their floor is 25.0%."]
    assert list(slate_notes(run, config, setting.queries, setting.state, slates)) == []
    answer = Slates("chain", slates, np.ones(slates.shape, np.float32), 1.0)
    notes = measure(run, ruled, setting, {"chain": answer, "retrieval": answer})["notes"]
    assert notes[-3:] == found


def test_what_is_learnt_is_learnt_from_slates_of_the_size_that_is_served(tmp_path):
    """A floor for the first places of slates of 5 does not become one for those of the longest cutoff."""
    run, config = make_evaluated_run(tmp_path / "run")
    floors = [FloorRule(column="price", op="<", value=-0.5, share=0.45)]
    ruled = msgspec.structs.replace(config, chain=msgspec.structs.replace(config.chain, floors=floors))
    folder, _ = _compiled(run, ruled)
    compile_chain(run, ruled, tmp_path / "served", "eval")
    boosts = [np.load(chain / "order/boosts_0.npy") for chain in (folder, tmp_path / "served")]
    assert boosts[0].max() == boosts[1].max() > 0
