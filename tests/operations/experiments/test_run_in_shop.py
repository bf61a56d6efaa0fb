"""What a run serves, shown to the users of the simulated shop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ensemble.export.stage import export
from models.ope.config import OpeConfig
from operations.decisions.evaluate import Source, evaluate_policy
from operations.experiments.run_in_shop import RunPolicy
from runtime.chain import Chain
from runtime.explore import log_propensities
from tests.ensemble.exploring import TEMPERATURE, make_exploring_run
from tests.ensemble.synthetic import make_run
from workflows.core.errors import ArtefactError, CascadeError
from workflows.core.run import Run
from workflows.shop.config import ShopConfig
from workflows.shop.laboratory import Shop, draw_visits, open_shop
from workflows.shop.play import play
from workflows.shop.slate_log import write_slate_log

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run, config = make_exploring_run(tmp_path_factory.mktemp("run"))
    export(run, config)
    return run


def shop_of(run: Run) -> Shop:
    """A shop whose users and items have the ids of a run."""
    shop = open_shop(ShopConfig(num_users=60, num_items=300, num_impressions=6_000))
    ids = {f"{name}_ids": np.load(run.folder("data") / "ids" / f"{name}s.npy") for name in ("user", "item")}
    return replace(shop, world=replace(shop.world, truth=replace(shop.world.truth, **ids)))


def test_drawn_slates_have_the_probabilities_of_what_they_were_drawn_from(run: Run) -> None:
    shop = shop_of(run)
    visits = draw_visits(shop, 700, seed=1)
    slates = RunPolicy(run.root, shop, draws=True)(np.random.default_rng(2), visits)
    assert slates.items.shape == (700, 5) and (slates.items >= 0).all()
    assert slates.candidates is not None and slates.scores is not None and slates.temperature == TEMPERATURE
    places = (slates.items[:, :, None] == slates.candidates[:, None, :]).argmax(axis=2)
    again = log_propensities(slates.scores.astype(float), places, TEMPERATURE)
    np.testing.assert_allclose(slates.log_propensity, again, atol=1e-5)
    assert len(np.unique(slates.items[visits.users == visits.users[0]], axis=0)) > 1


def test_sorted_slates_are_those_that_are_served(run: Run) -> None:
    shop = shop_of(run)
    visits = draw_visits(shop, 50, seed=1)
    slates = RunPolicy(run.root, shop, draws=False)(np.random.default_rng(2), visits)
    truth = shop.world.truth
    chain = Chain.load(run.folder("repo") / "fused/cascade/1/chain")
    request = {
        "user_id": truth.user_ids[visits.users][:, None],
        "hour": visits.hour[:, None],
        "device": np.array([b"desktop", b"mobile", b"tablet", b""], object)[visits.device][:, None],
        "force_policy": np.full((50, 1), b"deterministic", object),
    }
    assert truth.item_ids[slates.items].tolist() == chain.recommend(request)["item_id"].tolist()
    assert not slates.log_propensity.any() and slates.candidates is None


def test_a_run_is_worth_what_it_logged(run: Run, tmp_path: Path) -> None:
    shop = shop_of(run)
    visits, policy = draw_visits(shop, 600, seed=1), RunPolicy(run.root, shop, draws=True)
    played = play(shop, policy, visits, seed=3)
    write_slate_log(tmp_path / "log.parquet", played, shop.world.truth)
    pq.write_table(policy.choices(visits), tmp_path / "own.parquet")
    found = evaluate_policy(Source(tmp_path / "log.parquet"), tmp_path / "own.parquet", OpeConfig(), None).found
    assert found.refusal == "" and found.diagnostics.ess == pytest.approx(600, rel=1e-4)
    assert found.estimates["snips"].value == pytest.approx(played.click.sum(axis=1).mean(), rel=1e-3)


def test_what_cannot_be_asked_is_said(run: Run, tmp_path: Path) -> None:
    shop = shop_of(run)
    with pytest.raises(ArtefactError, match="neither a run directory nor a model repository"):
        RunPolicy(tmp_path, shop, draws=False)
    fixed, config = make_run(tmp_path / "fixed")
    export(fixed, config)
    with pytest.raises(CascadeError, match=r'set \[chain\.order\] explore = "softmax"'):
        RunPolicy(fixed.root, shop, draws=True)
    with pytest.raises(CascadeError, match="draws=True"):
        RunPolicy(fixed.root, shop, draws=False).choices(draw_visits(shop, 3, seed=1))
    (fixed.folder("repo") / "fused/cascade/1/chain/plan.json").unlink()
    with pytest.raises(ArtefactError):
        RunPolicy(fixed.root, shop, draws=False)
