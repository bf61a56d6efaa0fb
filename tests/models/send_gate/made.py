"""A log of pushes whose effect is known: opens bring a day, unopened pushes lose users."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["write_log"]


def write_log(folder: Path, num_users: int = 300, num_days: int = 30, seed: int = 0, **changes: object) -> Path:
    """Write both tables; `changes` replace columns of the decisions.

    A user of liking z opens with probability sigmoid(z), comes unasked with probability .2, and turns notifications off
    with probability .3 after an unopened push if z is negative.
    """
    rng = np.random.default_rng(seed)
    liking = rng.normal(size=num_users)
    reachable = np.ones(num_users, bool)
    rows: dict[str, list] = {}
    days: dict[str, list] = {"user_id": [], "day": [], "active": [], "reachable": []}
    for day in range(num_days):
        propensity = np.where(liking > 0, 0.7, 0.3)
        sent = reachable & (rng.random(num_users) < propensity)
        opened = sent & (rng.random(num_users) < 1 / (1 + np.exp(-liking)))
        visited = ~opened & (rng.random(num_users) < 0.2)
        opted_out = sent & ~opened & (liking < 0) & (rng.random(num_users) < 0.3)
        asked = np.flatnonzero(reachable)
        found = {
            "user_id": asked + 1,
            "day": np.full(len(asked), day),
            "liking": liking[asked],
            "weekday": np.full(len(asked), day % 7),
            "propensity": propensity[asked],
            **{
                name: values[asked].astype(np.int8)
                for name, values in (
                    ("action", sent),
                    ("opened", opened),
                    ("visited", visited),
                    ("opted_out", opted_out),
                )
            },
        }
        for name, values in found.items():
            rows.setdefault(name, []).extend(values.tolist())
        days["user_id"] += list(range(1, num_users + 1))
        days["day"] += [day] * num_users
        days["active"] += (opened | visited).astype(int).tolist()
        days["reachable"] += reachable.astype(int).tolist()
        reachable = reachable & ~opted_out
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({**rows, **changes}), folder / "decisions.parquet")
    pq.write_table(pa.table(days), folder / "activity.parquet")
    return folder
