"""Write the simulated shop to Parquet, a chunk at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workflows.core.console import progress
from workflows.shop.config import ShopConfig
from workflows.shop.sessions import Impressions, draw_impressions, draw_sessions
from workflows.shop.truth import DEVICES, Array
from workflows.shop.world import NEVER, SECOND_NS, World, draw_world, generator

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
    is null. The files are a function of `config` alone.

    Args:
        config: size and nature of the shop.
        folder: an existing folder.

    Raises:
        ConfigError: too few items to fill a session.
    """
    world = draw_world(config)
    world.truth.save(folder / "truth.npz")
    _write(folder / "items.parquet", (_items(config, world, rows) for rows in _chunks(config.num_items)))
    _write(folder / "users.parquet", (_users(config, world, rows) for rows in _chunks(config.num_users)))
    with progress("simulated shop", total=config.num_impressions, unit="impressions") as bar:
        sessions = draw_sessions(config, world)

        def tables() -> Any:
            for chunk in draw_impressions(config, world, sessions):
                yield _events(world, chunk)
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


def _items(config: ShopConfig, world: World, rows: Array) -> pa.Table:
    import pyarrow as pa

    rng, truth = generator(config, "item nulls", int(rows[0])), world.truth
    tags = ["|".join(f"tag_{tag:02d}" for tag in item if tag >= 0) for item in world.item_tags[rows].tolist()]
    return pa.table(
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


def _users(config: ShopConfig, world: World, rows: Array) -> pa.Table:
    import pyarrow as pa

    rng, truth = generator(config, "user nulls", int(rows[0])), world.truth
    log_spend = LOG_SPEND + LOG_SPEND_BY_BUDGET * truth.budget[rows] + LOG_SPEND_NOISE * rng.standard_normal(len(rows))
    return pa.table(
        {
            "user_id": truth.user_ids[rows],
            "age_group": _with_nulls(rng, np.array(AGE_GROUPS)[world.user_age[rows]]),
            "spend": _with_nulls(rng, np.round(np.exp(log_spend), 2)),
            "favourite_device": np.array(DEVICES)[world.user_device[rows]],
        }
    )


def _events(world: World, chunk: Impressions) -> pa.Table:
    import pyarrow as pa

    devices = pa.DictionaryArray.from_arrays(pa.array(chunk.device, mask=chunk.device == len(DEVICES)), list(DEVICES))
    return pa.table(
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


def _names(prefix: str, codes: Array) -> Array:
    distinct, inverse = np.unique(codes, return_inverse=True)
    return np.array([f"{prefix}_{code}" for code in distinct.tolist()])[inverse]


def _with_nulls(rng: np.random.Generator, values: Array) -> pa.Array:
    import pyarrow as pa

    return pa.array(values, mask=rng.random(len(values)) < NULL_SHARE)
