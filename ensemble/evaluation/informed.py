"""The informed bound: slates of a model that knows the simulated shop and infers its users' tastes from the log."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ensemble.evaluation.best import best_allowed
from ensemble.evaluation.measure import Slates
from ensemble.evaluation.queries import Queries
from ensemble.evaluation.setting import Setting
from ensemble.evaluation.tables import INFORMED
from ensemble.evaluation.truth import TRUTH_FILE, why_no_truth
from workflows.core.console import progress
from workflows.shop.config import ShopConfig
from workflows.tables.split import PROPENSITY

if TYPE_CHECKING:
    from workflows.shop.inference import Log
    from workflows.shop.world import World

__all__ = ["ask_informed", "why_not_informed"]

LOG_COLUMNS = ("click", "purchase", "position", "device")
CHUNK_USERS = 200


def why_not_informed(data: Path, shop: ShopConfig, queries: Queries) -> str | None:
    """Why this bound cannot be stated; None where it can."""
    from workflows.shop.truth import Truth
    from workflows.shop.world import draw_world

    if (reason := why_no_truth(data, queries)) is not None:
        return reason
    if (label := queries.facts["relevant_label"]) != "click":
        return f"it is worked out for clicks, and the relevant label is {label}"
    names = pq.read_schema(min((data / "train").glob("*.parquet"))).names
    missing = [name for name in LOG_COLUMNS if name not in names]
    if missing:
        return f"the prepared log has no {', '.join(missing)}"
    if not np.array_equal(Truth.load(data / TRUTH_FILE).taste_start, draw_world(shop).truth.taste_start):
        return "the [shop] section is not the one that the run was prepared with"
    return None


def ask_informed(data: Path, shop: ShopConfig, setting: Setting, *, filter_seen: bool, longest: int) -> Slates:
    """The eligible, unseen items with the highest expected probability of a click, given train and valid.

    Given are, beside the log, the planted parameters of items and contexts, the logging policy, and how tastes depend
    on the age group and the budget on spend: more than any model can find out from the same tables.

    Args:
        data: the data folder of a run on the simulated shop.
        shop: the section that it was prepared with.
        setting: the Q queries, ids, seen items and eligible items.
        filter_seen: leave seen items out.
        longest: K.

    Returns:
        "informed": slates of K items, scored by that probability.
    """
    from workflows.shop.inference import Inference
    from workflows.shop.truth import device_codes
    from workflows.shop.world import draw_world

    started_at = time.perf_counter()
    world, queries = draw_world(shop), setting.queries
    columns = world.truth.item_rows(setting.item_ids)
    users = world.truth.user_rows(setting.user_ids[queries.user_rows])
    device, hour = (np.asarray(queries.context[name].to_numpy(zero_copy_only=False)) for name in ("device", "hour"))
    log, spend = _read_log(data, world, setting), _spend(data, world)
    inference = Inference(world, log, shop.random_share)
    state, parts = setting.state if filter_seen else None, []
    with progress(f"evaluate: asking {INFORMED}", len(queries), "users") as bar:
        for start in range(0, len(queries), CHUNK_USERS):
            part = slice(start, start + CHUNK_USERS)
            tastes = inference.tastes(users[part], spend[users[part]])
            when = {"at": queries.at[part], "device": device_codes(device[part]), "hour": hour[part].astype(np.int64)}
            chance = tastes.click_probability(**when)[:, columns]
            parts.append(best_allowed(chance, queries.user_rows[part], state, setting.eligible, longest))
            bar.advance(bar.task_ids[0], len(chance))
    rows, best = (np.concatenate(pieces) for pieces in zip(*parts, strict=True))
    return Slates(INFORMED, rows, best, time.perf_counter() - started_at)


def _read_log(data: Path, world: World, setting: Setting) -> Log:
    """Train and valid as rows of the world; impressions of items outside the catalogue tell nothing here."""
    from workflows.shop.inference import Log
    from workflows.shop.truth import device_codes

    parts = [path for split in ("train", "valid") for path in sorted((data / split).glob("*.parquet"))]
    names = ["user_row", "item_row", "at", *LOG_COLUMNS]
    names += [PROPENSITY] if PROPENSITY in pq.read_schema(parts[0]).names else []
    table = pa.concat_tables([pq.read_table(path, columns=names) for path in parts])
    known = (table["user_row"].to_numpy() >= 0) & (table["item_row"].to_numpy() >= 0)
    table = table.filter(pa.array(known)).sort_by("user_row")  # raw ids ascend with it
    column = {name: np.asarray(table[name].to_numpy()) for name in names}
    shown_by = column.get(PROPENSITY)
    return Log(
        users=world.truth.user_rows(setting.user_ids[column["user_row"]]),
        items=world.truth.item_rows(setting.item_ids[column["item_row"]]),
        at=column["at"].astype(np.int64),
        device=device_codes(column["device"]),
        position=column["position"].astype(np.int64),
        click=column["click"] > 0.5,
        purchase=column["purchase"] > 0.5,
        random=None if shown_by is None else shown_by > 0,  # NaN: the policy chose
    )


def _spend(data: Path, world: World) -> NDArray[np.float64]:
    """The users table's column by row of the world, NaN where it is null."""
    table = pq.read_table(data / "users.parquet", columns=["user_id", "spend"])
    spend = np.full(len(world.truth.user_ids), np.nan)
    spend[world.truth.user_rows(table["user_id"].to_numpy())] = table["spend"].to_numpy()
    return spend
