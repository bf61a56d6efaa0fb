"""`cascade slates allot`: slates of all users of an export, no item in more of them than its units allow."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ensemble.export.sample import SampleAsker
from ensemble.serving.repository import find_repository
from ensemble.slates.allot import hand_out, learnt_prices
from ensemble.slates.limits import UNLIMITED, read_limits
from ensemble.slates.parquet import check_out
from runtime.spec import CHAIN_FILE
from workflows.core import console
from workflows.core.disk import writing
from workflows.core.run import Run

__all__ = ["Allotted", "allot"]

# Prices are learnt on so many; the order of turns is the same each time.
NUM_LEARNERS, TURNS_SEED = 2_000, 17


class Allotted(NamedTuple):
    """What was written.

    Attributes:
        num_users: with a slate.
        num_limited: items with units in some warehouse or none.
        num_gone: of these, in all warehouses together: places of which all units are shown.
        prices_help: share that slates of turns with prices are worth more than of turns alone, by the models.
        lost: share that they are worth less than slates without limits.
    """

    num_users: int
    num_limited: int
    num_gone: int
    prices_help: float
    lost: float


def allot(run: Run, units: Path, out: Path, *, warehouse: str = "", shows_per_unit: float = 1.0) -> Allotted:
    """Write the slates of all users.

    Args:
        run: exported.
        units: Parquet or CSV: item_id, units, and the warehouse where there are several.
        out: the Parquet file: user_id, rank, item_id, score.
        warehouse: column of the users and of `units`; empty: one for all.
        shows_per_unit: slates that may show one unit.

    Raises:
        CascadeError: there is no export, or the units cannot be read.
    """
    check_out(out)
    folder = next(find_repository(run.root).glob(f"cascade/1/**/{CHAIN_FILE}")).parent
    item_ids, user_ids = (np.load(folder / f"ids/{side}.npy", allow_pickle=False) for side in ("items", "users"))
    users = run.folder("data") / "users.parquet"
    limits = read_limits(units, item_ids, len(user_ids), users, warehouse, shows_per_unit)
    asker = SampleAsker(folder, "cascade slates allot")
    turns = np.random.default_rng(TURNS_SEED).permutation(asker.num_users)
    learners = turns[: min(NUM_LEARNERS, len(turns))]
    count = len(limits.left)
    of_all, of_sample = (
        np.bincount(limits.warehouses[users], minlength=count + 1)[:count] for users in (turns, learners)
    )
    share = of_sample / np.maximum(of_all, 1)
    found = learnt_prices(asker.sample(learners), limits.warehouses[learners], limits.left, share)
    left, rows = limits.left.copy(), np.full((len(turns), 0), -1, np.int32)
    scores = np.zeros(rows.shape, np.float32)
    with console.progress("slates allot", len(turns), "users") as bar:
        for start in range(0, len(turns), asker.batch):
            part = turns[start : start + asker.batch]
            sample = asker.sample(part)
            places = hand_out(sample, limits.warehouses[part], found.prices, left)
            if not rows.shape[1]:
                rows = np.full((len(turns), places.shape[1]), -1, np.int32)
                scores = np.zeros(rows.shape, np.float32)
            rows[part, : places.shape[1]] = sample.items(places)
            scores[part, : places.shape[1]] = np.take_along_axis(sample.worth, np.maximum(places, 0), 1)
            bar.advance(bar.task_ids[0], len(part))
    _write(out, user_ids, item_ids, rows, scores)
    limited = limits.left < UNLIMITED
    result = Allotted(
        len(turns),
        int(limited.any(axis=0).sum()),
        int((limited & (left == 0)).sum()),
        found.priced / found.first_come - 1 if found.first_come > 0 else 0.0,
        1 - max(found.priced, found.first_come) / found.free if found.free > 0 else 0.0,
    )
    console.say(
        f"slates allot: {result.num_users:,} users have slates; {result.num_limited:,} items are limited, all units of "
        f"{result.num_gone:,} lines are shown. Slates are worth {result.lost:.2%} less than without limits, and "
        f"{result.prices_help:+.2%} against users taking turns without prices, by the models"
    )
    return result


def _write(out: Path, user_ids: NDArray, item_ids: NDArray, rows: NDArray[np.int32], scores: NDArray) -> None:
    users, places = np.nonzero(rows >= 0)
    table = pa.table(
        {
            "user_id": _raw(user_ids, users),
            "rank": pa.array(places + 1, pa.int32()),
            "item_id": _raw(item_ids, rows[users, places]),
            "score": pa.array(scores[users, places], pa.float32()),
        }
    )
    fresh = out.with_name(f".{out.name}.new")
    try:
        with writing("slates allot", out.parent):
            pq.write_table(table, fresh, compression="zstd")
            fresh.replace(out)
    finally:
        fresh.unlink(missing_ok=True)


def _raw(ids: NDArray, rows: NDArray) -> pa.Array:
    found = ids[rows]
    return pa.array([one.decode() for one in found.tolist()], pa.string()) if ids.dtype.kind == "S" else pa.array(found)
