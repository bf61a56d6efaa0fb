"""The log of notifications as an engineer has it: a table of decisions, and one of each user's days."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workflows.core.disk import writing
from workflows.shop.notify import FEATURES, Days
from workflows.shop.pushes import NotifyShop
from workflows.shop.truth import Array
from workflows.shop.world import START_S

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ACTIVITY_FILE", "DECISIONS_FILE", "activity_table", "decision_table", "write_push_log"]

DECISIONS_FILE, ACTIVITY_FILE = "decisions.parquet", "activity.parquet"
DECIDED_AT_S = 9 * 3_600  # each day at nine


def write_push_log(shop: NotifyShop, folder: Path, num_days: int) -> Days:
    """Let the logging rule decide, and write decisions.parquet and activity.parquet.

    Raises:
        CascadeError: the disk is full or the folder cannot be written.
    """
    import pyarrow.parquet as pq

    days = shop.play(shop.logging_rule(), num_days)
    with writing("the log of notifications", folder):
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(decision_table(shop, days), folder / DECISIONS_FILE)
        pq.write_table(activity_table(days), folder / ACTIVITY_FILE)
    return days


def decision_table(shop: NotifyShop, days: Days) -> pa.Table:
    """One row a decision on a user who could be reached, in order of time and user.

    Returns:
        decision_id, at, user_id, day; the FEATURES as of before the decision; cap, the pushes a week that the user was
        assigned; policy, propensity (of a push) and action (1: sent); of the same day opened, visited (unasked; false
        on a day with an opened push), active (one of the two) and opted_out.
    """
    import pyarrow as pa

    day, user = np.nonzero(days.reachable)
    columns = {
        "decision_id": pa.array([f"push-{number:09d}" for number in range(len(day))]),
        "at": pa.array((START_S + day * 86_400 + DECIDED_AT_S) * 1_000_000, pa.timestamp("us")),
        "user_id": user + 1,
        "day": day,
    }
    columns |= {name: days.features[day, user, place] for place, name in enumerate(FEATURES)}
    columns |= {
        "cap": shop.caps[user],
        "policy": pa.array(["shop-rule"] * len(day)),
        "propensity": days.propensity[day, user],
        "action": days.sent[day, user].astype(np.int8),
    }
    outcomes = {"opened": days.opened, "visited": days.visited, "active": days.active, "opted_out": days.opted_out}
    return pa.table(columns | {name: _flags(values[day, user]) for name, values in outcomes.items()})


def activity_table(days: Days) -> pa.Table:
    """One row a user and day, whether reachable or not: what returns over a horizon are summed from.

    Returns:
        user_id, day, at (its beginning), active, and reachable (as the day begins), in order of day and user.
    """
    import pyarrow as pa

    num_days, num_users = days.sent.shape
    day = np.repeat(np.arange(num_days), num_users)
    return pa.table(
        {
            "user_id": np.tile(np.arange(1, num_users + 1), num_days),
            "day": day,
            "at": pa.array((START_S + day * 86_400) * 1_000_000, pa.timestamp("us")),
            "active": _flags(days.active.ravel()),
            "reachable": _flags(days.reachable.ravel()),
        }
    )


def _flags(values: Array) -> Array:
    return values.astype(np.int8)
