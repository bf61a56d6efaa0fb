"""Slates within units: never more than there are, near the best that all users together can have, and by warehouse."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ensemble.config import ChainConfig
from ensemble.export.compile import compile_chain
from ensemble.export.sample import Sample
from ensemble.slates.allot import hand_out, learnt_prices
from ensemble.slates.allotted import allot
from ensemble.slates.limits import UNLIMITED, read_limits
from runtime.slate_spec import Cap, SlateSpec
from tests.ensemble.serving.toy import seal
from tests.ensemble.synthetic import make_run
from workflows.core.errors import ConfigError, DataError


def sample(random, num_users, num_items, size, **rules):
    rows = np.tile(np.arange(num_items, dtype=np.int32), (num_users, 1))
    worth = random.random(rows.shape)
    history = np.zeros((num_users, 1), np.int32)
    files = {"kind": np.arange(num_items, dtype=np.int32) % 3}
    return Sample(rows, worth.astype(np.float32), worth, history, SlateSpec(**rules), files, size)


def all_users(found, warehouses, left):
    prices = learnt_prices(found, warehouses, left, np.ones(len(left)))
    return prices, hand_out(found, warehouses, prices.prices, left.copy())


def test_prices_come_near_the_best_that_all_can_have_together():
    """Five users, five items of which there is one each, one place: all assignments are tried."""
    random = np.random.default_rng(3)
    gained, possible, by_turns = 0.0, 0.0, 0.0
    for _ in range(60):
        found = sample(random, 5, 5, 1)
        left = np.ones((1, 5), np.int64)
        prices, places = all_users(found, np.zeros(5, np.int32), left)
        assert sorted(found.items(places)[:, 0].tolist()) == [0, 1, 2, 3, 4]
        gained += found.total_worth(places)
        by_turns += prices.first_come
        possible += max(
            sum(found.worth[user, item] for user, item in enumerate(items))
            for items in itertools.permutations(range(5))
        )
        assert prices.free >= prices.priced and found.total_worth(places) >= prices.first_come
    assert gained >= 0.97 * possible > by_turns > 0


def test_no_item_is_shown_more_often_than_there_are_units_whatever_the_prices_and_rules():
    random = np.random.default_rng(4)
    for rules in ({}, {"caps": (Cap("kind", 1, 2),)}):
        found = sample(random, 60, 12, 3, **rules)
        warehouses = random.integers(0, 3, 60).astype(np.int32)  # 2: of none
        left = random.integers(0, 9, (2, 12))
        left[:, 9:] = UNLIMITED
        _, places = all_users(found, warehouses, left)
        items = found.items(places)
        for warehouse in (0, 1):
            shown = items[warehouses == warehouse]
            counts = np.bincount(shown[shown >= 0], minlength=12)
            assert (counts <= left[warehouse]).all()
        assert set(items[warehouses == 2].ravel().tolist()) <= {9, 10, 11}
        assert all(
            len({*slate} - {-1}) == (slate >= 0).sum() for slate in items.tolist() for slate in [np.array(slate)]
        )


def test_without_a_limit_that_binds_slates_are_what_they_are():
    found = sample(np.random.default_rng(5), 10, 8, 4)
    left = np.full((1, 8), UNLIMITED)
    left[0, 3] = 10
    prices, places = all_users(found, np.zeros(10, np.int32), left)
    assert not prices.prices.any() and places.tolist() == found.slates(found.spec, {}).tolist()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    run, config = make_run(tmp_path_factory.mktemp("allot") / "run")
    chain = ChainConfig(num_candidates=30, slate_size=5, max_slate_size=20, instances=1, layouts=("fused",))
    # What an export leaves, without its checks.
    repository = run.root / "repo/fused"
    compile_chain(run, msgspec.structs.replace(config, chain=chain), repository / "cascade/1/chain", "serve")
    (repository / "cascade/config.pbtxt").write_text("")
    seal(repository)
    users = np.load(run.folder("data") / "ids/users.npy")
    places = ["north" if row % 2 else "south" for row in range(len(users) - 1)] + [None]
    pq.write_table(pa.table({"user_id": users, "place": places}), run.folder("data") / "users.parquet")
    return run, users, places


def test_slates_of_an_export_keep_to_the_units_of_each_warehouse(exported, tmp_path, capsys):
    run, users, places = exported
    items = np.load(run.folder("data") / "ids/items.npy")
    lines = [(int(item), place, n % 4) for n, item in enumerate(items[:200]) for place in ("north", "south")]
    table = {"item_id": [one[0] for one in lines] + [5], "place": [one[1] for one in lines] + ["north"]}
    pq.write_table(pa.table({**table, "units": [one[2] for one in lines] + [1]}), tmp_path / "units.parquet")
    found = allot(run, tmp_path / "units.parquet", tmp_path / "out.parquet", warehouse="place", shows_per_unit=1.5)
    written = pq.read_table(tmp_path / "out.parquet").to_pydict()
    assert found.num_users == len(users) == len(set(written["user_id"])) and found.num_limited == 200
    where = dict(zip(users.tolist(), places, strict=True))
    units = {(item, place): int(1.5 * count) for item, place, count in lines}
    shown: dict = {}
    for user, item in zip(written["user_id"], written["item_id"], strict=True):
        shown[item, where[user]] = shown.get((item, where[user]), 0) + 1
    limited = {key: count for key, count in shown.items() if key in units}
    assert limited and all(count <= units[key] for key, count in limited.items())
    assert not [key for key in shown if key[1] is None and key[0] in {item for item, _ in units}]
    slates = np.unique(written["user_id"], return_counts=True)[1]
    assert slates.max() == 5 and written["rank"][:5] == [1, 2, 3, 4, 5]
    said = " ".join(capsys.readouterr().err.split())
    assert "1 lines of" in said and "1 users are of no place" in said and "200 items are limited" in said


@pytest.mark.parametrize(
    ("columns", "warehouse", "error", "sentence"),
    [
        ({"item_id": [1]}, "", DataError, "has the columns item_id, and lacks units"),
        ({"item_id": [1], "units": [-1]}, "", DataError, "line 1 has -1 units; expected a number from 0 on"),
        ({"item_id": [1], "units": ["many"]}, "", DataError, "units are string, expected numbers"),
        (
            {"item_id": [1], "units": [1], "city": ["x"]},
            "city",
            ConfigError,
            "--warehouse city is no column of the users",
        ),
        (
            {"item_id": [1], "units": [1], "place": pa.array([None], pa.string())},
            "place",
            DataError,
            "1 lines have no place",
        ),
        ({"item_id": [1.5], "units": [1]}, "", DataError, "item ids must be integers, as those of the run are"),
        ({"item_id": ["7", "x"], "units": [1, 1]}, "", DataError, "item ids must be integers"),
        ({"item_id": [-1, -2], "units": [1, 1]}, "", DataError, "the run knows none of its 2 items"),
        ({"item_id": [1], "units": [1]}, "units", ConfigError, "--warehouse units is the column of units itself"),
        ({"item_id": [1], "units": [1], "place": [["a"]]}, "place", DataError, "place is list.* expected texts or"),
    ],
)
def test_units_that_cannot_be_used_are_named(exported, tmp_path, columns, warehouse, error, sentence):
    run, _, _ = exported
    items = np.load(run.folder("data") / "ids/items.npy")
    pq.write_table(pa.table(columns), tmp_path / "units.parquet")
    with pytest.raises(error, match=sentence):
        read_limits(tmp_path / "units.parquet", items, 60, run.folder("data") / "users.parquet", warehouse, 1.0)


def test_an_item_twice_and_a_file_that_is_none_are_named(exported, tmp_path):
    run, _, _ = exported
    items = np.load(run.folder("data") / "ids/items.npy")
    users = run.folder("data") / "users.parquet"
    (tmp_path / "units.csv").write_text(f"item_id,units\n{items[1]},1\n{items[2]},2\n{items[1]},3\n")
    with pytest.raises(DataError, match=f"more than one line of item {items[1]}; add them up"):
        read_limits(tmp_path / "units.csv", items, 60, users, "", 1.0)
    (tmp_path / "units.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match=r"units\.parquet cannot be read as Parquet"):
        read_limits(tmp_path / "units.parquet", items, 60, users, "", 1.0)
    with pytest.raises(ConfigError, match="is not there; give the run directory"):
        (tmp_path / "placed.csv").write_text(f"item_id,units,place\n{items[1]},1,north\n")
        read_limits(tmp_path / "placed.csv", items, 60, tmp_path / "users.parquet", "place", 1.0)


def test_a_csv_of_other_letters_or_with_a_column_twice_is_named(exported, tmp_path):
    run, _, _ = exported
    for given, sentence in (
        (b"item_id,\xff\n1,2\n", "cannot be read as CSV"),
        (b"item_id,item_id,units\n", "one column"),
    ):
        (tmp_path / "units.csv").write_bytes(given)
        with pytest.raises(DataError, match=sentence):
            read_limits(tmp_path / "units.csv", np.arange(3), 1, run.folder("data") / "users.parquet", "", 1.0)


def test_more_units_than_numbers_hold_are_no_limit(exported, tmp_path):
    run, _, _ = exported
    users = run.folder("data") / "users.parquet"
    (tmp_path / "units.csv").write_text("item_id,units\n0,1e300\n1,2\n")
    for shows in (1.0, 1e300):
        left = read_limits(tmp_path / "units.csv", np.arange(3), 1, users, "", shows).left[0]
        assert left[0] == left[2] == UNLIMITED and left[1] == min(2 * shows, UNLIMITED)
    with pytest.raises(ConfigError, match="--shows-per-unit must be a finite number, got inf"):
        read_limits(tmp_path / "units.csv", np.arange(3), 1, users, "", float("inf"))
