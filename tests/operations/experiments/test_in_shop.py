"""Experiments that are played in the simulated shop, whose truth judges what they say."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ensemble.config import Config
from operations.experiments.in_shop import (
    DAY_NS,
    GivenSlates,
    between,
    last_days,
    play_days,
    slates_of_report,
    true_difference,
)
from operations.experiments.look import History
from operations.experiments.two_in_shop import decided_and_refused
from workflows.core.artefacts import Manifest, write_manifest
from workflows.core.run import Run
from workflows.shop.config import ShopConfig
from workflows.shop.laboratory import Shop, open_shop
from workflows.shop.scored import true_clicks
from workflows.shop.visits import Visits

CONFIG = ShopConfig(num_users=3_000, num_items=300, num_impressions=150_000, num_days=20)
SIZE = 10


@pytest.fixture(scope="module")
def shop() -> Shop:
    return open_shop(CONFIG)


@pytest.fixture(scope="module")
def best(shop: Shop) -> GivenSlates:
    """For each user the items that they click most gladly at the log's end, but for the first user nothing."""
    users = np.arange(CONFIG.num_users)
    at = np.full(len(users), shop.world.truth.log_from_to[1] - DAY_NS)
    visits = Visits(users, at, np.zeros_like(users), np.zeros_like(users))
    items = np.argsort(-true_clicks(shop.world)(visits), axis=1)[:, :SIZE]
    items[0] = -1
    return GivenSlates("chain", items)


@pytest.fixture(scope="module")
def any_items(best: GivenSlates) -> GivenSlates:
    """The same ten items for everybody who has a slate in `best`."""
    items = np.tile(np.arange(SIZE), (len(best.items), 1))
    return GivenSlates("retrieval", np.where(best.items >= 0, items, -1))


def played(shop: Shop, name: str, policies: list[GivenSlates], seed: int = 1) -> History:
    visits = last_days(shop, policies[0].users, 4, seed)
    running = between(name, "control", "variant", int(visits.at[0]), users=len(visits) // 2)
    return play_days(shop, running, policies, visits, seed)


def test_a_better_policy_is_found_and_the_truth_lies_in_its_interval(
    shop: Shop, best: GivenSlates, any_items: GivenSlates
) -> None:
    history = played(shop, "better", [any_items, best])
    [found] = history.looks[-1].metric
    assert found.low is not None and found.high is not None and found.low > 0
    visits = last_days(shop, best.users, 4, 1)
    assert found.low < true_difference(shop, [any_items, best], visits) < found.high
    assert len(history.looks) == 4
    assert sum(history.looks[-1].users) == len(np.unique(visits.users)) > 1_000


def test_between_two_that_are_the_same_nothing_is_found(shop: Shop, best: GivenSlates) -> None:
    for seed in range(5):
        history = played(shop, f"same-{seed}", [best, best], seed)
        for each in history.looks:
            assert not each.ratio.alarm
            assert all((one.low or -1.0) < 0 < (one.high or 1.0) for one in each.metric)
    assert true_difference(shop, [best, best], last_days(shop, best.users, 4, 1)) == 0


def test_only_users_with_slates_come_and_only_in_the_last_days(shop: Shop, best: GivenSlates) -> None:
    visits = last_days(shop, best.users, 4, 1)
    assert 0 not in visits.users
    assert (visits.at >= shop.world.truth.log_from_to[1] - 4 * DAY_NS).all()
    assert (np.diff(visits.at) >= 0).all()


def run_of(folder: Path, shop: Shop, slates: list[GivenSlates]) -> Run:
    """A run whose report has these slates."""
    run = Run(folder)
    for stage in ("data", "report"):
        run.folder(stage).mkdir(parents=True)
    truth = shop.world.truth
    truth.save(run.folder("data") / "truth.npz")
    tables = []
    for policy in slates:
        users, place = np.nonzero(policy.items >= 0)
        source = pa.array([policy.name] * len(users)).dictionary_encode()
        ids = {"user_id": truth.user_ids[users], "item_id": truth.item_ids[policy.items[users, place]]}
        tables.append(pa.table({"source": source, **ids, "rank": (place + 1).astype(np.int32)}))
    pq.write_table(pa.concat_tables(tables), run.folder("report") / "recommendations.parquet")
    write_manifest(run.folder("report"), Manifest("report", "", "", {}, {}, []))
    return run


def test_one_is_decided_one_is_refused_and_both_are_kept(
    tmp_path: Path, shop: Shop, best: GivenSlates, any_items: GivenSlates
) -> None:
    run = run_of(tmp_path, shop, [any_items, best])
    decided, refused = "\n".join(decided_and_refused(run, Config(shop=CONFIG))).split("experiment ranker-lost: ")
    assert "decided, from day " in decided and "chain has more ctr than retrieval." in decided
    assert "the truth, which only a simulated shop knows: +" in decided
    assert "refused: half of the users were given to each" in refused
    assert "clicks by item shown" not in refused and "truth" not in refused
    kept = {
        name: msgspec.json.decode((run.folder("report") / "experiments" / f"{name}.json").read_bytes(), type=History)
        for name in ("ranker", "ranker-lost")
    }
    assert not kept["ranker"].looks[-1].ratio.alarm
    users = kept["ranker-lost"].looks[-1].users
    assert kept["ranker-lost"].looks[-1].ratio.alarm and users[1] < 0.8 * users[0]
    run.require("report")  # what was added does not make the stage look altered


def test_slates_that_nobody_has_and_a_shop_that_is_none_are_said(tmp_path: Path, shop: Shop, best: GivenSlates) -> None:
    run = run_of(tmp_path, shop, [best])
    assert not slates_of_report(run.folder("report"), "retrieval", shop, SIZE).users.any()
    assert list(decided_and_refused(run, Config(shop=CONFIG))) == [
        "none of the users with slates comes in the last 6 days: no experiment was played"
    ]
    (run.folder("data") / "truth.npz").unlink()
    [said] = decided_and_refused(run, Config(shop=CONFIG))
    assert "simulated shop alone" in said
