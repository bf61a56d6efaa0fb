"""Write the simulated shop to Parquet, a chunk at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workflows.core.console import progress
from workflows.shop.config import ShopConfig
from workflows.shop.laboratory import Shop, open_shop
from workflows.shop.played import play_impressions
from workflows.shop.push_log import write_push_log
from workflows.shop.pushes import open_notify
from workflows.shop.sessions import Impressions, draw_impressions, draw_sessions
from workflows.shop.stock import draw_regions
from workflows.shop.truth import DEVICES, Array
from workflows.shop.world import NEVER, SECOND_NS, World, generator

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["LOG_SPEND", "LOG_SPEND_BY_BUDGET", "LOG_SPEND_NOISE", "write_shop"]

ROWS_PER_CHUNK = 500_000
NULL_SHARE = 0.03
LOG_SPEND, LOG_SPEND_BY_BUDGET, LOG_SPEND_NOISE = 4.0, 0.8, 0.3
AGE_GROUPS = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")


def write_shop(config: ShopConfig, folder: Path) -> None:
    """Write events.parquet, items.parquet, users.parquet and truth.npz.

    Events are in order of time; the impressions of one session share their instant. Where a position was left to chance
    (`random_share`), `propensity` is the probability with which it shows that item, 1 / the items on sale; elsewhere it
    is null. With [shop.returns], `margin` is what a purchase earns if it is kept, and `returned` what came back before
    the log ends. With [shop.stock], users have a region. With [shop.notify], decisions.parquet and activity.parquet
    hold its log of notifications. The files are a function of `config` alone.

    Args:
        config: size and nature of the shop.
        folder: an existing folder.

    Raises:
        ConfigError: too few items to fill a session.
    """
    shop = open_shop(config)
    world = shop.world
    world.truth.save(folder / "truth.npz")
    if config.notify is not None:
        write_push_log(open_notify(config, config.num_users), folder, config.notify.days)
    _write(folder / "items.parquet", (_items(config, shop, rows) for rows in _chunks(config.num_items)))
    _write(folder / "users.parquet", (_users(config, world, rows) for rows in _chunks(config.num_users)))
    with progress("simulated shop", total=config.num_impressions, unit="impressions") as bar:
        sessions = draw_sessions(config, world)

        def tables() -> Any:
            played = config.policy == "softmax"
            chunks = play_impressions(shop, sessions) if played else draw_impressions(config, world, sessions)
            for number, chunk in enumerate(chunks):
                yield _events(shop, chunk, number)
                bar.advance(bar.task_ids[0], len(chunk.users))

        _write(folder / "events.parquet", tables())


def _write(path: Path, tables: Any) -> None:
    import pyarrow.parquet as pq

    first = next(tables)
    with pq.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def _chunks(size: int) -> list[Array]:
    return [np.arange(first, min(first + ROWS_PER_CHUNK, size)) for first in range(0, size, ROWS_PER_CHUNK)]


def _items(config: ShopConfig, shop: Shop, rows: Array) -> pa.Table:
    import pyarrow as pa

    world = shop.world
    rng, truth = generator(config, "item nulls", int(rows[0])), world.truth
    tags = ["|".join(f"tag_{tag:02d}" for tag in item if tag >= 0) for item in world.item_tags[rows].tolist()]
    table = pa.table(
        {
            "item_id": truth.item_ids[rows],
            "category": _names("category", truth.item_category[rows]),
            "brand": _with_nulls(rng, _names("brand", world.item_brand[rows])),
            "price": _with_nulls(rng, np.round(np.exp(world.log_price[rows].astype(np.float64)), 2)),
            "tags": _with_nulls(rng, np.array(tags)),
            "launched_at": pa.array(truth.launched_at[rows] // SECOND_NS * 1_000_000, pa.timestamp("us")),
            "in_stock": truth.sold_out_at[rows] == NEVER,
        }
    )
    return table if shop.returns is None else table.append_column("margin", pa.array(shop.returns.margin[rows]))


def _users(config: ShopConfig, world: World, rows: Array) -> pa.Table:
    import pyarrow as pa

    rng, truth = generator(config, "user nulls", int(rows[0])), world.truth
    log_spend = LOG_SPEND + LOG_SPEND_BY_BUDGET * truth.budget[rows] + LOG_SPEND_NOISE * rng.standard_normal(len(rows))
    table = pa.table(
        {
            "user_id": truth.user_ids[rows],
            "age_group": _with_nulls(rng, np.array(AGE_GROUPS)[world.user_age[rows]]),
            "spend": _with_nulls(rng, np.round(np.exp(log_spend), 2)),
            "favourite_device": np.array(DEVICES)[world.user_device[rows]],
        }
    )
    if config.stock is None:
        return table
    return table.append_column("region", pa.array(_names("region", draw_regions(config)[rows])))


def _events(shop: Shop, chunk: Impressions, number: int) -> pa.Table:
    import pyarrow as pa

    world = shop.world
    devices = pa.DictionaryArray.from_arrays(pa.array(chunk.device, mask=chunk.device == len(DEVICES)), list(DEVICES))
    table = pa.table(
        {
            "user_id": world.truth.user_ids[chunk.users],
            "item_id": world.truth.item_ids[chunk.items],
            "timestamp": pa.array(chunk.at_s * 1_000_000, pa.timestamp("us")),
            "session_id": chunk.session,
            "device": devices.cast(pa.string()),
            "hour": (chunk.at_s // 3_600 % 24).astype(np.int32),
            "position": chunk.position,
            "propensity": pa.array(chunk.propensity, mask=np.isnan(chunk.propensity)),
            "click": chunk.click,
            "purchase": chunk.purchase,
        }
    )
    if shop.config.policy == "softmax":
        table = table.append_column("log_propensity", pa.array(chunk.log_propensity))
    if shop.returns is None:
        return table
    returned, at_us = _returns(shop, chunk, number)
    table = table.append_column("returned", pa.array(returned.astype(np.int8)))
    table = table.append_column("returned_at", pa.array(at_us, pa.timestamp("us"), mask=~returned))
    return table.append_column("margin", pa.array(shop.returns.margin[chunk.items], mask=chunk.purchase == 0))


def _returns(shop: Shop, chunk: Impressions, number: int) -> tuple[Array, Array]:
    """Which purchases came back before the log ends, bool [R], and when, epoch microseconds.

    What comes back later nobody knows yet.
    """
    assert shop.returns is not None
    rng, at_us = generator(shop.config, "returned", number), chunk.at_s * 1_000_000
    chance = shop.returns.probability(shop.world, chunk.users, chunk.items, at_us * 1_000)
    days = rng.exponential(shop.returns.config.mean_days, size=len(at_us))
    back_us = at_us + (days * 86_400e6).astype(np.int64)
    returned = (chunk.purchase == 1) & (rng.random(len(at_us)) < chance)
    return returned & (back_us * 1_000 < shop.world.truth.log_from_to[1]), back_us


def _names(prefix: str, codes: Array) -> Array:
    distinct, inverse = np.unique(codes, return_inverse=True)
    return np.array([f"{prefix}_{code}" for code in distinct.tolist()])[inverse]


def _with_nulls(rng: np.random.Generator, values: Array) -> pa.Array:
    import pyarrow as pa

    return pa.array(values, mask=rng.random(len(values)) < NULL_SHARE)
