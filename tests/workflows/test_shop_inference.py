"""What can be inferred of the shop's users is as sure as it says, and says more than their age group does."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from workflows.shop.config import ShopConfig
from workflows.shop.inference import Inference, Log, Tastes
from workflows.shop.truth import DEVICES, Truth, device_codes
from workflows.shop.world import draw_world
from workflows.shop.write import write_shop

CONFIG = ShopConfig(num_users=600, num_items=400, num_impressions=40_000)
USERS = np.arange(0, 600, 2)


@pytest.fixture(scope="module")
def world():
    return draw_world(CONFIG)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    write_shop(CONFIG, folder)
    return pd.read_parquet(folder / "events.parquet"), pd.read_parquet(folder / "users.parquet")


def as_log(world, events, *, flagged=True):
    events = events.sort_values("user_id", kind="stable")
    return Log(
        users=world.truth.user_rows(events.user_id.to_numpy()),
        items=world.truth.item_rows(events.item_id.to_numpy()),
        at=events.timestamp.to_numpy().astype("datetime64[ns]").astype(np.int64),
        device=device_codes(events.device.astype(object).to_numpy()),
        position=events.position.to_numpy(),
        click=events.click.to_numpy(),
        purchase=events.purchase.to_numpy(),
        random=events.propensity.notna().to_numpy() if flagged else None,
    )


@pytest.fixture(scope="module")
def tastes(world, tables):
    events, users = tables
    return Inference(world, as_log(world, events), CONFIG.random_share).tastes(USERS, users.spend.to_numpy()[USERS])


def unknown(truth: Truth):
    return np.concatenate([truth.taste_start, truth.taste_end, truth.budget[:, None]], axis=1)[USERS]


@pytest.mark.long
def test_deviations_from_the_truth_are_as_large_as_the_posterior_says(world, tastes):
    surprise = (tastes.mean - unknown(world.truth)) / np.sqrt(np.diagonal(tastes.covariance, axis1=1, axis2=2))
    assert abs(surprise[:, :-1].mean()) < 0.1
    assert 0.9 < surprise[:, :-1].std() < 1.1
    assert 0.85 < surprise[:, -1].std() < 1.15


@pytest.mark.long
def test_what_chance_showed_is_no_sign_of_taste(world):
    """With everything left to chance, knowing it leaves the prior; taking it for the policy's choice misleads."""
    num_rows = len(USERS) * 60
    users = np.repeat(USERS, 60)
    items = np.random.default_rng(2).integers(0, CONFIG.num_items, num_rows)
    nothing = np.zeros(num_rows)
    unseen = np.full(num_rows, 10**9)  # a position that nobody looks at: no click tells nothing
    at = np.full(num_rows, world.truth.log_from_to[0])
    log = Log(users, items, at, nothing.astype(np.int64), unseen, nothing, nothing, np.ones(num_rows, bool))
    spend = np.full(len(USERS), np.nan)
    empty = Inference(world, as_empty(log)).tastes(USERS, spend).mean
    np.testing.assert_allclose(Inference(world, log).tastes(USERS, spend).mean, empty, atol=0.02)
    blind = dataclasses.replace(log, random=None)
    assert np.abs(Inference(world, blind, 1.0).tastes(USERS, spend).mean - empty).max() < 0.02
    assert np.abs(Inference(world, blind, 0.0).tastes(USERS, spend).mean - empty).max() > 0.3


def as_empty(log):
    return Log(**{field.name: getattr(log, field.name)[:0] for field in dataclasses.fields(log)})


@pytest.mark.long
def test_a_log_that_does_not_say_what_chance_showed_gives_sound_posteriors_too(world, tables):
    events, users = tables
    found = Inference(world, as_log(world, events, flagged=False), CONFIG.random_share)
    tastes = found.tastes(USERS, users.spend.to_numpy()[USERS])
    surprise = (tastes.mean - unknown(world.truth)) / np.sqrt(np.diagonal(tastes.covariance, axis1=1, axis2=2))
    assert 0.9 < surprise[:, :-1].std() < 1.1


@pytest.mark.long
def test_the_log_tells_more_than_the_age_group_and_spend_more_than_nothing(world, tables, tastes):
    nothing = Inference(world, as_log(world, tables[0][:0])).tastes(USERS, np.full(len(USERS), np.nan))
    error = [((found.mean - unknown(world.truth)) ** 2).mean(axis=0) for found in (tastes, nothing)]
    assert error[0][:8].mean() < 0.85 * error[1][:8].mean()
    assert error[0][-1] < 0.25 * error[1][-1]
    np.testing.assert_allclose(nothing.mean[:, -1], 0.0)


@pytest.mark.long
def test_expected_clicks_are_closer_to_the_truth_than_those_of_the_mode(world, tastes):
    truth = world.truth
    when = {"at": np.full(len(USERS), truth.log_from_to[1]), "hour": np.full(len(USERS), 13)}
    got = tastes.click_probability(device=np.zeros(len(USERS), np.int64), **when)
    wide = {name: value[:, None] for name, value in when.items()}
    expected = truth.click_probability(truth.user_ids[USERS][:, None], truth.item_ids, device=DEVICES[0], **wide)
    assert got.shape == expected.shape
    assert got.mean() == pytest.approx(expected.mean(), rel=0.05)  # the mode alone is too low: sigmoid is convex there
    certain = Tastes(world, tastes.mean, np.zeros_like(tastes.covariance))
    mode = certain.click_probability(device=np.zeros(len(USERS), np.int64), **when)
    assert np.square(got - expected).mean() < np.square(mode - expected).mean()


def test_a_known_user_has_the_true_probabilities(world):
    truth = world.truth
    x = unknown(truth)[:3].astype(np.float64)
    known = Tastes(world, x, np.zeros((3, x.shape[1], x.shape[1])))
    at, hour = np.linspace(*truth.log_from_to, 3).astype(np.int64), np.array([0, 9, 23])
    got = known.click_probability(at=at, device=np.array([0, 1, 3]), hour=hour)
    names = np.array([DEVICES[0], DEVICES[1], "unheard of"])
    when = {"at": at[:, None], "device": names[:, None], "hour": hour[:, None]}
    expected = truth.click_probability(truth.user_ids[USERS[:3]][:, None], truth.item_ids, **when)
    np.testing.assert_allclose(got, expected, rtol=1e-4)
