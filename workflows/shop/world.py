"""Draw the simulated shop's users and items: planted parameters, and the features that hint at them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from workflows.core.errors import ConfigError
from workflows.shop.config import ShopConfig
from workflows.shop.truth import DEVICES, SECOND_NS, Array, Truth

__all__ = ["NEVER", "SECOND_NS", "World", "draw_world", "generator"]

START_S = 1_704_067_200  # 2024-01-01T00:00:00Z
DAY_S = 86_400
NEVER = np.iinfo(np.int64).max
EMBEDDING_DIM = 8
NUM_TAGS = 60
TAGS_PER_ITEM = 3
NUM_AGE_GROUPS = 6
ZIPF_EXPONENT = 1.0
ZIPF_SHIFT = 2.0
FIRST_ITEM_ID, ITEM_ID_STEP = 1_000, 7  # raw ids that cannot be mistaken for rows


@dataclass(frozen=True)
class World:
    """The truth, and what else the writers need.

    Attributes:
        truth: the planted parameters.
        item_weight: float64 [N], the logging policy's popularity, sums to 1.
        item_brand: int32 [N]; item_tags: int32 [N, 3], -1 for none.
        log_price: float32 [N].
        user_weight: float64 [U], relative activity; user_age: int32 [U].
        user_device: int8 [U], the favourite device; cold_user: bool [U].
    """

    truth: Truth
    item_weight: Array
    item_brand: Array
    item_tags: Array
    log_price: Array
    user_weight: Array
    user_age: Array
    user_device: Array
    cold_user: Array


def generator(config: ShopConfig, name: str, *index: int) -> np.random.Generator:
    """A stream of its own for each named draw, so that one draw's size never shifts another."""
    return np.random.default_rng([config.seed, zlib.crc32(name.encode()), *index])


def draw_world(config: ShopConfig) -> World:
    """Draw users and items.

    Raises:
        ConfigError: too few items are on sale all the time to fill a session.
    """
    _check(config)
    num_items, num_users = config.num_items, config.num_users
    rng = generator(config, "items")
    category, brand, tags, vectors = _item_vectors(rng, num_items)
    rank = rng.permutation(num_items)
    weight = (rank + 1.0 + ZIPF_SHIFT) ** -ZIPF_EXPONENT
    level = rng.standard_normal(num_items, dtype=np.float32)
    launched_at, sold_out_at = _availability(rng, config)
    base_price = generator(config, "prices").normal(3.5, 0.6, int(category.max()) + 1).astype(np.float32)
    users = generator(config, "users")
    age = users.integers(NUM_AGE_GROUPS, size=num_users).astype(np.int32)
    start_s, end_s = _log_s(config)
    trend_item, trend_at = _trends(config)
    truth = Truth(
        user_ids=np.arange(1, num_users + 1, dtype=np.int64),
        item_ids=FIRST_ITEM_ID + ITEM_ID_STEP * np.arange(num_items, dtype=np.int64),
        taste_start=_tastes(users, age),
        taste_end=_tastes(users, age),
        item_vectors=vectors,
        item_bias=_item_bias(rng, weight),
        price_level=level,
        budget=users.standard_normal(num_users, dtype=np.float32),
        item_category=category,
        context_effect=_context_effect(generator(config, "context"), int(category.max()) + 1),
        log_from_to=np.array([start_s, end_s], dtype=np.int64) * SECOND_NS,
        launched_at=launched_at,
        sold_out_at=sold_out_at,
        trend_item=trend_item,
        trend_at=trend_at,
        trend=np.array([config.trend_strength, config.trend_hours * 3600 * SECOND_NS]),
    )
    return World(
        truth=truth,
        item_weight=weight / weight.sum(),
        item_brand=brand,
        item_tags=tags,
        log_price=base_price[category] + np.float32(0.5) * level,
        user_weight=users.gamma(1.2, size=num_users),
        user_age=age,
        user_device=users.choice(len(DEVICES), size=num_users, p=(0.35, 0.55, 0.10)).astype(np.int8),
        cold_user=_share(users, num_users, config.cold_user_fraction),
    )


def _check(config: ShopConfig) -> None:
    always = config.num_items - _count(config.num_items, config.cold_item_fraction, config.out_of_stock_fraction)
    if always < config.impressions_per_session:
        raise ConfigError(
            f"shop.impressions_per_session = {config.impressions_per_session} needs as many items that are neither "
            f"cold nor out of stock, but shop.num_items = {config.num_items} leaves {always}; raise shop.num_items"
        )
    if config.cold_user_fraction > 0 and _count(config.num_users, config.cold_user_fraction) == config.num_users:
        raise ConfigError(f"shop.num_users = {config.num_users} are all cold; lower shop.cold_user_fraction")


def _log_s(config: ShopConfig) -> tuple[int, int]:
    return START_S, START_S + config.num_days * DAY_S


def _count(size: int, *fractions: float) -> int:
    return sum(round(size * fraction) for fraction in fractions)


def _share(rng: np.random.Generator, size: int, fraction: float) -> Array:
    chosen = np.zeros(size, dtype=bool)
    chosen[rng.permutation(size)[: _count(size, fraction)]] = True
    return chosen


def _item_vectors(rng: np.random.Generator, num_items: int) -> tuple[Array, Array, Array, Array]:
    """Category, brand, tags and unit vectors; a vector is mostly explained by the three."""
    num_categories = int(np.clip(num_items // 60, 4, 200))
    num_brands = int(np.clip(num_items // 25, 6, 20_000))
    category = _skewed(rng, num_categories, num_items)
    brand = _skewed(rng, num_brands, num_items)
    tags = rng.integers(NUM_TAGS, size=(num_items, TAGS_PER_ITEM)).astype(np.int32)
    tags[np.arange(TAGS_PER_ITEM)[None, :] >= rng.integers(1, TAGS_PER_ITEM + 1, size=num_items)[:, None]] = -1
    tag_vectors = np.vstack([_normal(rng, NUM_TAGS), np.zeros((1, EMBEDDING_DIM), np.float32)])
    vectors = np.float32(0.8) * _normal(rng, num_categories)[category]
    vectors += np.float32(0.4) * _normal(rng, num_brands)[brand]
    for column in range(TAGS_PER_ITEM):
        vectors += np.float32(0.25) * tag_vectors[tags[:, column]]
    vectors += np.float32(0.4) * _normal(rng, num_items)
    return category, brand, tags, _unit(vectors)


def _trends(config: ShopConfig) -> tuple[Array, Array]:
    """Which items begin to trend and when, epoch nanoseconds; by item and instant."""
    rng = generator(config, "trends")
    size = rng.poisson(config.trends_per_day * config.num_days)
    items = rng.integers(config.num_items, size=size)
    at_s = START_S + rng.integers(config.num_days * DAY_S, size=size)
    order = np.lexsort((at_s, items))
    return items[order].astype(np.int64), at_s[order].astype(np.int64) * SECOND_NS


def _skewed(rng: np.random.Generator, num_values: int, size: int) -> Array:
    """Values 0..num_values-1 with falling frequency, each at least once while there is room."""
    weight = 1.0 / np.arange(2, num_values + 2)
    drawn = rng.choice(num_values, size=size, p=weight / weight.sum()).astype(np.int32)
    drawn[: min(num_values, size)] = np.arange(min(num_values, size), dtype=np.int32)
    return np.asarray(rng.permutation(drawn))


def _tastes(rng: np.random.Generator, age: Array) -> Array:
    return _unit(np.float32(0.6) * _normal(rng, NUM_AGE_GROUPS)[age] + _normal(rng, len(age)))


def _normal(rng: np.random.Generator, rows: int) -> Array:
    return rng.standard_normal((rows, EMBEDDING_DIM), dtype=np.float32)


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _item_bias(rng: np.random.Generator, weight: Array) -> Array:
    log_weight = np.log(weight)
    spread = max(float(log_weight.std()), 1e-6)
    noise = rng.standard_normal(len(weight), dtype=np.float32)
    return np.asarray(0.3 * (log_weight - log_weight.mean()) / spread + 0.3 * noise, dtype=np.float32)


def _context_effect(rng: np.random.Generator, num_categories: int) -> Array:
    effect = 0.4 * rng.standard_normal((num_categories, len(DEVICES) + 1, 4), dtype=np.float32)
    effect[:, -1, :] = 0.0
    return np.asarray(effect, dtype=np.float32)


def _availability(rng: np.random.Generator, config: ShopConfig) -> tuple[Array, Array]:
    """Launch and sold-out instants in epoch nanoseconds; no item is both cold and sold out."""
    size, (start_s, end_s) = config.num_items, _log_s(config)
    length_s = end_s - start_s
    launched_s = start_s - rng.integers(0, 365 * DAY_S, size=size)
    order = rng.permutation(size)
    num_cold, num_sold_out = _count(size, config.cold_item_fraction), _count(size, config.out_of_stock_fraction)
    launched_s[order[:num_cold]] = rng.integers(end_s - length_s // 10, end_s, size=num_cold)
    sold_out_at = np.full(size, NEVER, dtype=np.int64)
    sold_out_s = rng.integers(start_s + length_s // 2, end_s, size=num_sold_out)
    sold_out_at[order[num_cold : num_cold + num_sold_out]] = sold_out_s * SECOND_NS
    return launched_s * SECOND_NS, sold_out_at
