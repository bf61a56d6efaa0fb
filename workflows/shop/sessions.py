"""The shop's log: who came when, what the logging policy showed, and what the user did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from workflows.shop.config import ShopConfig
from workflows.shop.policy import LoggingPolicy
from workflows.shop.truth import UNKNOWN_DEVICE, Array, sigmoid
from workflows.shop.world import SECOND_NS, World, generator

__all__ = [
    "Impressions",
    "Sessions",
    "draw_devices",
    "draw_impressions",
    "draw_sessions",
    "draw_users_and_times",
    "first_rows",
]

SESSIONS_PER_CHUNK = 20_000
HOUR_WEIGHT = np.array([1, 1, 1, 1, 1, 2, 3, 4, 5, 5, 5, 6, 6, 5, 5, 5, 6, 7, 8, 9, 9, 7, 4, 2], dtype=np.float64)
OTHER_DEVICE_SHARE = 0.2
UNKNOWN_DEVICE_SHARE = 0.02
COLD_USER_BOOST = 5.0


@dataclass(frozen=True)
class Sessions:
    """Sessions in order of time: user rows int64 [S] and instants int64 [S], epoch seconds."""

    users: Array
    at_s: Array


@dataclass(frozen=True)
class Impressions:
    """A chunk of the log, flat, in order of time; users and items are rows, devices are codes.

    `propensity` is the probability with which chance shows the item there, NaN where the policy chose. `log_propensity`
    is that of the item at its slot, given the slots before it; NaN where the policy has none.
    """

    session: Array
    users: Array
    items: Array
    at_s: Array
    device: Array
    position: Array
    propensity: Array
    log_propensity: Array
    click: Array
    purchase: Array


def draw_sessions(config: ShopConfig, world: World) -> Sessions:
    """Draw when each session starts and whose it is; cold users come in the last tenth of the log only."""
    num_sessions = -(-config.num_impressions // config.impressions_per_session)
    return Sessions(*draw_users_and_times(generator(config, "sessions"), config, world, num_sessions))


def draw_users_and_times(
    rng: np.random.Generator, config: ShopConfig, world: World, num_sessions: int
) -> tuple[Array, Array]:
    """User rows and instants in epoch seconds of sessions, int64 each, in order of time."""
    start_s, end_s = (world.truth.log_from_to // SECOND_NS).tolist()
    hours = rng.choice(24, size=num_sessions, p=HOUR_WEIGHT / HOUR_WEIGHT.sum())
    at_s = start_s + rng.integers(config.num_days, size=num_sessions) * 86_400 + hours * 3_600
    at_s = np.sort(at_s + rng.integers(3_600, size=num_sessions))
    first_late = int(np.searchsorted(at_s, end_s - (end_s - start_s) // 10))
    early = _draw(rng, world.user_weight * ~world.cold_user, first_late)
    late = _draw(rng, world.user_weight * np.where(world.cold_user, COLD_USER_BOOST, 1.0), num_sessions - first_late)
    return np.concatenate([early, late]), at_s


def draw_impressions(config: ShopConfig, world: World, sessions: Sessions) -> Iterator[Impressions]:
    """Play the sessions, a chunk of them at a time; exactly `num_impressions` rows in all."""
    policy = LoggingPolicy(world, config.random_share)
    firsts = enumerate(range(0, len(sessions.users), SESSIONS_PER_CHUNK))
    chunks = (_play(config, world, policy, sessions, first, chunk) for chunk, first in firsts)
    return first_rows(chunks, config.num_impressions)


def first_rows(chunks: Iterable[Impressions], size: int) -> Iterator[Impressions]:
    """Chunks cut off after so many rows."""
    for chunk in chunks:
        rows = min(size, len(chunk.users))
        size -= rows
        yield Impressions(**{name: values[:rows] for name, values in vars(chunk).items()})


def _play(
    config: ShopConfig, world: World, policy: LoggingPolicy, sessions: Sessions, first: int, chunk: int
) -> Impressions:
    rng = generator(config, "impressions", chunk)
    width = config.impressions_per_session
    users = sessions.users[first : first + SESSIONS_PER_CHUNK]
    at_s = sessions.at_s[first : first + SESSIONS_PER_CHUNK]
    device = draw_devices(rng, world, users)
    shown, random = policy.show(rng, users, at_s * SECOND_NS, width)  # (sessions, width)
    chance = 1.0 / policy.num_on_sale(at_s * SECOND_NS)
    flat = {
        "session": np.repeat(np.arange(first, first + len(users)), width),
        "users": np.repeat(users, width),
        "items": shown.ravel(),
        "at_s": np.repeat(at_s, width),
        "device": np.repeat(device, width),
        "position": np.tile(np.arange(1, width + 1, dtype=np.int32), len(users)),
        "propensity": np.where(random, chance[:, None], np.nan).ravel(),
        "log_propensity": np.full(shown.size, np.nan),
    }
    click, purchase = _outcomes(rng, world, flat)
    return Impressions(**flat, click=click, purchase=purchase)


def _outcomes(rng: np.random.Generator, world: World, flat: dict[str, Array]) -> tuple[Array, Array]:
    truth, at = world.truth, flat["at_s"] * SECOND_NS
    hour = flat["at_s"] // 3_600 % 24
    attractive = sigmoid(truth.click_logit(flat["users"], flat["items"], at, flat["device"], hour))
    click = rng.random(len(at)) < truth.examination(flat["position"]) * attractive
    bought = rng.random(len(at)) < sigmoid(truth.purchase_logit(flat["users"], flat["items"], at))
    return click.astype(np.int8), (click & bought).astype(np.int8)


def draw_devices(rng: np.random.Generator, world: World, users: Array) -> Array:
    """Device codes of sessions, mostly the user's favourite one, int64 in the shape of `users`."""
    device = world.user_device[users].astype(np.int64)
    other = rng.random(len(users)) < OTHER_DEVICE_SHARE
    device[other] = rng.integers(UNKNOWN_DEVICE, size=int(other.sum()))
    device[rng.random(len(users)) < UNKNOWN_DEVICE_SHARE] = UNKNOWN_DEVICE
    return device


def _draw(rng: np.random.Generator, weight: Array, size: int) -> Array:
    cumulative = np.cumsum(weight)
    rows = np.searchsorted(cumulative, rng.random(size) * cumulative[-1], side="right")
    return np.asarray(np.minimum(rows, len(weight) - 1))
