"""The simulated shop behaves as its stated probabilities, and is a function of its config."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from workflows.core.errors import ArtefactError, ConfigError, DataError
from workflows.shop.config import ReturnsConfig, ShopConfig
from workflows.shop.truth import CLICK_BIAS, DEVICES, PRICE_WEIGHT, TASTE_WEIGHT, Truth
from workflows.shop.world import draw_world
from workflows.shop.write import write_shop

CONFIG = ShopConfig(
    num_users=800, num_items=600, num_impressions=200_005, cold_user_fraction=0.1, cold_item_fraction=0.1
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    write_shop(CONFIG, folder)
    return folder


@pytest.fixture(scope="module")
def events(shop: Path) -> pd.DataFrame:
    return pd.read_parquet(shop / "events.parquet")


@pytest.fixture(scope="module")
def truth(shop: Path) -> Truth:
    return Truth.load(shop / "truth.npz")


def _at(events: pd.DataFrame) -> np.ndarray:
    return events.timestamp.to_numpy().astype("datetime64[ns]").astype(np.int64)


def _arguments(events: pd.DataFrame) -> dict:
    return {"at": _at(events), "device": events.device.to_numpy(), "hour": events.hour.to_numpy()}


@pytest.mark.parametrize("outcome", ["click", "purchase"])
def test_outcomes_happen_as_often_as_the_truth_says(events, truth, outcome):
    probability = getattr(truth, f"{outcome}_probability")(
        events.user_id.to_numpy(), events.item_id.to_numpy(), **_arguments(events)
    ) * truth.examination(events.position.to_numpy())
    bins = np.searchsorted(np.quantile(probability, np.linspace(0.05, 0.95, 19)), probability)
    for one in range(20):
        inside = probability[bins == one].astype(np.float64)
        deviation = np.sqrt((inside * (1 - inside)).sum())
        assert abs(events[outcome].to_numpy()[bins == one].sum() - inside.sum()) < 4.5 * deviation


def test_purchases_are_clicks_and_positions_are_examined_less_and_less(events, truth):
    assert (events.purchase <= events.click).all()
    rates = events.groupby("position").click.mean()
    assert list(rates.index) == list(range(1, 11))
    expected = truth.examination(rates.index.to_numpy())
    np.testing.assert_allclose(rates / rates[1], expected / expected[0], atol=0.05)


def test_the_click_probability_is_the_documented_formula(truth):
    user, item, hour, device = 17, 33, 20, 1
    start, end = truth.log_from_to.tolist()
    angle = 0.25
    taste = np.cos(angle) * truth.taste_start[user] + np.sin(angle) * truth.taste_end[user]
    logit = CLICK_BIAS + TASTE_WEIGHT * np.sqrt(8) * taste @ truth.item_vectors[item] + truth.item_bias[item]
    logit -= PRICE_WEIGHT * (truth.price_level[item] - truth.budget[user]) ** 2
    logit += truth.context_effect[truth.item_category[item], device, 3]
    got = truth.click_probability(
        truth.user_ids[user], truth.item_ids[item], at=start + (end - start) // 4, device=DEVICES[device], hour=hour
    )
    assert got == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-5)


def test_users_by_catalogue_equals_pair_by_pair(truth):
    users, at = truth.user_ids[[3, 500, 799]], truth.log_from_to[0] + np.array([0, 10**15, 4 * 10**15])
    devices, hours = np.array(["mobile", "tablet", "fridge"]), np.array([0, 12, 23])
    grid = truth.click_probability(
        users[:, None], truth.item_ids[None, :], at=at[:, None], device=devices[:, None], hour=hours[:, None]
    )
    assert grid.shape == (3, CONFIG.num_items)
    assert grid.dtype == np.float32
    for row in range(3):
        one = truth.click_probability(
            np.full(600, users[row]), truth.item_ids, at=at[row], device=devices[row], hour=hours[row]
        )
        np.testing.assert_allclose(grid[row], one, rtol=1e-5)


def test_tastes_drift_over_the_log(truth):
    start, end = truth.log_from_to.tolist()
    context = {"device": None, "hour": 9}
    users, items = truth.user_ids[:, None], truth.item_ids[None, :]
    early = truth.click_probability(users, items, at=start, **context)
    late = truth.click_probability(users, items, at=end, **context)
    assert 0.3 < np.corrcoef(early.ravel(), late.ravel())[0, 1] < 0.95


def test_a_trend_begins_at_its_instant_and_halves_in_its_half_life():
    config = ShopConfig(num_users=20, num_items=3000, trends_per_day=100.0, trend_strength=3.0, trend_hours=6.0, seed=3)
    truth = draw_world(config).truth
    items, at = truth.trend_item, truth.trend_at
    assert 0.9 < len(items) / (100 * config.num_days) < 1.1
    last = np.append(items[1:] != items[:-1], True)
    item, start = items[last][:500], at[last][:500]
    hours = 3600 * 10**9
    before = truth.trend_of(item, np.full(len(item), truth.log_from_to[0] - 1))
    assert before.tolist() == [0.0] * len(item)
    for after, share in ((0, 1.0), (6 * hours, 0.5), (12 * hours, 0.25)):
        np.testing.assert_allclose(truth.trend_of(item, start + after), 3.0 * share, rtol=1e-5)
    untouched = np.setdiff1d(np.arange(config.num_items), items)
    assert (truth.trend_of(untouched[:, None], start[None, :9]) == 0).all()
    # The latest one counts.
    twice = np.flatnonzero(items[1:] == items[:-1])[:50]
    np.testing.assert_allclose(truth.trend_of(items[twice], at[twice + 1]), 3.0, rtol=1e-5)
    np.testing.assert_allclose(
        truth.click_logit(np.zeros(9, int), item[:9], start[:9], np.zeros(9, int), np.zeros(9, int))
        - truth.click_logit(np.zeros(9, int), item[:9], start[:9] - 1, np.zeros(9, int), np.zeros(9, int)),
        3.0 - truth.trend_of(item[:9], start[:9] - 1),
        atol=1e-4,
    )


def test_an_unknown_id_is_refused_by_name(truth):
    with pytest.raises(DataError, match=r"item_id: 1 ids are not in the simulated shop, for example 1001"):
        truth.click_probability([1], [1001], at=0, device="mobile", hour=1)


def test_nothing_is_shown_before_its_launch_or_after_its_stock_ran_out(shop, events, truth):
    rows, at = truth.item_rows(events.item_id.to_numpy()), _at(events)
    assert (truth.launched_at[rows] <= at).all()
    assert (at < truth.sold_out_at[rows]).all()
    items = pd.read_parquet(shop / "items.parquet")
    assert (items.in_stock.to_numpy() == (truth.sold_out_at > truth.log_from_to[1])).all()
    assert (~items.in_stock).sum() == round(0.05 * CONFIG.num_items)
    late = truth.log_from_to[1] - (truth.log_from_to[1] - truth.log_from_to[0]) // 10
    assert (truth.launched_at >= late).sum() == round(0.1 * CONFIG.num_items)


def test_cold_users_come_in_the_last_tenth_only(events, truth):
    start, end = truth.log_from_to.tolist()
    first = events.groupby("user_id").timestamp.min().to_numpy().astype("datetime64[ns]").astype(np.int64)
    cold = (first >= end - (end - start) // 10).sum()
    assert 50 <= cold <= 110  # 80 are planted; a few never come, a few others come late by chance


def test_sessions_are_ordered_in_time_and_show_distinct_items(events):
    assert len(events) == CONFIG.num_impressions
    assert events.timestamp.is_monotonic_increasing
    assert not events.duplicated(["session_id", "item_id"]).any()
    sessions = events.groupby("session_id")
    assert sessions.size().iloc[:-1].eq(10).all()
    assert sessions[["user_id", "timestamp", "hour"]].nunique().eq(1).all().all()
    assert (events.hour == events.timestamp.dt.hour).all()


def test_what_chance_shows_is_every_item_on_sale_alike_with_the_propensity_that_is_stated(events, truth):
    by_chance = events[events.propensity.notna()]
    assert len(by_chance) / len(events) == pytest.approx(CONFIG.random_share, abs=0.005)
    assert by_chance.position.value_counts(normalize=True).between(0.09, 0.11).all()
    at, instants = _at(by_chance), np.unique(_at(by_chance))
    on_sale = (truth.launched_at <= instants[:, None]) & (instants[:, None] < truth.sold_out_at)
    chances = 1 / on_sale.sum(axis=1)
    np.testing.assert_allclose(by_chance.propensity, chances[np.searchsorted(instants, at)])
    displays = np.bincount(np.searchsorted(instants, at), minlength=len(instants))
    expected = (displays * chances) @ on_sale  # of each item
    shown = np.bincount(truth.item_rows(by_chance.item_id.to_numpy()), minlength=CONFIG.num_items)
    statistic = ((shown - expected) ** 2 / expected).sum() / CONFIG.num_items
    assert statistic < 1 + 4.5 * np.sqrt(2 / CONFIG.num_items)  # chi-squared over its degrees of freedom
    others = np.bincount(truth.item_rows(events[events.propensity.isna()].item_id.to_numpy()), minlength=600)
    assert ((others - others.mean()) ** 2 / others.mean()).mean() > 100  # the policy is nothing like it


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_or_nothing_can_be_left_to_chance(tmp_path, share):
    config = ShopConfig(num_users=20, num_items=15, num_impressions=2_000, cold_item_fraction=0.0, random_share=share)
    write_shop(config, tmp_path)
    events = pd.read_parquet(tmp_path / "events.parquet")
    assert events.propensity.notna().mean() == share
    assert not events.duplicated(["session_id", "item_id"]).any()


def test_impressions_follow_a_zipf_like_law(events):
    counts = np.sort(events.item_id.value_counts().to_numpy())[::-1]
    rank = np.arange(5, 200)
    slope = np.polyfit(np.log(rank), np.log(counts[rank]), 1)[0]
    assert -1.3 < slope < -0.4
    assert counts[:6].sum() > 5 * counts[-300:].sum() / 50  # the top 1% beat any 1% of the tail by far


def test_features_have_some_nulls(shop, events):
    items, users = pd.read_parquet(shop / "items.parquet"), pd.read_parquet(shop / "users.parquet")
    for column in (items.brand, items.price, items.tags, users.age_group, users.spend, events.device):
        assert 0 < column.isna().mean() < 0.08
    for column in (items.item_id, users.user_id, items.in_stock, items.category):
        assert not column.isna().any()


def test_the_files_are_a_function_of_the_config(tmp_path):
    config = ShopConfig(num_users=50, num_items=60, num_impressions=1_003)
    for name, one in (("a", config), ("b", config), ("c", ShopConfig(**{**_dict(config), "seed": 8}))):
        (tmp_path / name).mkdir()
        write_shop(one, tmp_path / name)
    for table in ("events", "items", "users"):
        first, again, other = ((tmp_path / name / f"{table}.parquet").read_bytes() for name in "abc")
        assert first == again
        assert first != other


# Of the values, not of the files, whose bytes depend on the release of pyarrow.
AS_EVER = {"events": "dd6ebb74fa86eade", "items": "d81c6daf366d8044", "users": "407c9ed5865c189c"}


def test_a_config_gets_the_tables_that_it_always_got(tmp_path):
    write_shop(ShopConfig(num_users=80, num_items=60, num_impressions=3_000, trends_per_day=1.0), tmp_path)
    for name, digest in AS_EVER.items():
        table = pq.read_table(tmp_path / f"{name}.parquet")
        values = repr([(column, table.column(column).to_pylist()) for column in table.column_names])
        assert hashlib.sha256(values.encode()).hexdigest()[:16] == digest


def test_the_policy_with_propensities_writes_them_and_the_share_of_chance(tmp_path):
    config = ShopConfig(num_users=80, num_items=60, num_impressions=20_005, policy="softmax")
    write_shop(config, tmp_path)
    events = pd.read_parquet(tmp_path / "events.parquet")
    assert len(events) == config.num_impressions
    assert not events.duplicated(["session_id", "item_id"]).any()
    assert ((events.log_propensity < 0) & (events.log_propensity > -12)).all()
    by_session = events.groupby("session_id").propensity.agg(["count", "size"])
    assert set(by_session["count"].iloc[:-1]) == {0, 10}  # whole slates; the last session is cut off
    assert (by_session["count"] > 0).mean() == pytest.approx(config.random_share, abs=0.03)


def test_purchases_have_margins_and_what_came_back_in_time(tmp_path):
    config = ShopConfig(num_users=80, num_items=60, num_impressions=60_000, returns=ReturnsConfig(mean_days=9.0))
    write_shop(config, tmp_path)
    events, items = pd.read_parquet(tmp_path / "events.parquet"), pd.read_parquet(tmp_path / "items.parquet")
    bought = events[events.purchase == 1]
    assert events.margin.notna().equals(events.purchase == 1)
    assert (bought.margin.to_numpy() == items.set_index("item_id").margin[bought.item_id].to_numpy()).all()
    assert (events.returned <= events.purchase).all()
    assert events.returned_at.notna().equals(events.returned == 1)
    days = (bought.returned_at - bought.timestamp).dropna().dt.total_seconds() / 86_400
    assert days.min() > 0
    assert bought.returned_at.max() < events.timestamp.max() + pd.Timedelta(days=1)
    early, late = (bought[bought.timestamp.dt.dayofyear.between(*part)] for part in ((1, 30), (56, 60)))
    assert 0.2 < early.returned.mean() < 0.4
    assert late.returned.mean() < 0.5 * early.returned.mean()  # labels that have not matured
    plain = tmp_path / "plain"
    plain.mkdir()
    write_shop(ShopConfig(num_users=80, num_items=60, num_impressions=60_000), plain)
    same = pd.read_parquet(plain / "events.parquet")
    pd.testing.assert_frame_equal(events[same.columns], same)


def test_a_shop_too_small_for_its_sessions_is_refused(tmp_path):
    with pytest.raises(
        ConfigError, match=r"impressions_per_session = 10 .*num_items = 10 leaves 9; raise shop.num_items"
    ):
        write_shop(ShopConfig(num_items=10, cold_item_fraction=0.1), tmp_path)


def test_a_session_can_show_the_whole_shop(tmp_path):
    config = ShopConfig(
        num_users=5, num_items=10, num_impressions=500, cold_item_fraction=0.0, out_of_stock_fraction=0.0
    )
    write_shop(config, tmp_path)
    events = pd.read_parquet(tmp_path / "events.parquet")
    assert events.groupby("session_id").item_id.nunique().eq(10).all()


def test_a_missing_truth_says_what_to_do(tmp_path):
    with pytest.raises(ArtefactError, match="run cascade prepare again"):
        Truth.load(tmp_path / "truth.npz")


def _dict(config: ShopConfig) -> dict:
    return {name: getattr(config, name) for name in config.__struct_fields__}
