"""The plain log of slates: Parquet, one row a slate, as any shop could write it and off-policy evaluation reads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workflows.core.disk import writing
from workflows.shop.play import Played
from workflows.shop.truth import DEVICES, UNKNOWN_DEVICE, Array, Truth

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["slate_table", "write_slate_log"]


def write_slate_log(path: Path, played: Played, truth: Truth, reward: str = "click", prefix: str = "visit") -> None:
    """Write what was played; the columns are those of `slate_table`.

    Raises:
        CascadeError: the disk is full or the folder cannot be written.
        DataError: an unknown reward.
    """
    import pyarrow.parquet as pq

    table = slate_table(played, truth, reward, prefix)
    with writing("the slate log", path.parent):
        pq.write_table(table, path)


def slate_table(played: Played, truth: Truth, reward: str = "click", prefix: str = "visit") -> pa.Table:
    """One row a slate, in order of time; slots without an item are left out of the lists.

    Args:
        played: what was shown and what happened.
        truth: for the raw ids.
        reward: which outcome `rewards` holds: click, purchase or utility.
        prefix: of the request ids, which are numbered.

    Returns:
        request_id, at, user_id, device, hour, item_ids, log_propensity, rewards, policy, explored (whether chance had a
        part in the slate), uniform (whether it was chance alone), click, purchase and returned, and, where the policy
        tells them, candidate_ids, candidate_scores and temperature.

    Raises:
        DataError: an unknown reward.
    """
    import pyarrow as pa

    visits, slates = played.visits, played.slates
    shown = slates.items >= 0
    unknown = visits.device == UNKNOWN_DEVICE
    device = pa.array(np.array([*DEVICES, ""])[visits.device], pa.string(), mask=unknown)
    columns = {
        "request_id": pa.array([f"{prefix}-{number:08d}" for number in range(len(visits))]),
        "at": pa.array(visits.at // 1_000, pa.timestamp("us")),
        "user_id": truth.user_ids[visits.users],
        "device": device,
        "hour": visits.hour.astype(np.int32),
        "item_ids": _lists(truth.item_ids[slates.items], shown),
        "log_propensity": _lists(slates.log_propensity, shown),
        "rewards": _lists(played.reward(reward), shown),
        "policy": pa.array([slates.policy] * len(visits)),
        "explored": (slates.log_propensity < 0).any(axis=1),
        "uniform": slates.explored,
        **{name: _lists(getattr(played, name), shown) for name in ("click", "purchase", "returned")},
    }
    if slates.candidates is not None and slates.scores is not None:
        told = slates.candidates >= 0
        columns["candidate_ids"] = _lists(truth.item_ids[slates.candidates], told)
        columns["candidate_scores"] = _lists(slates.scores, told)
    if slates.temperature is not None:
        columns["temperature"] = np.full(len(visits), slates.temperature)
    return pa.table(columns)


def _lists(values: Array, told: Array) -> pa.Array:
    """The told values of each row [B, S], a list a row."""
    import pyarrow as pa

    offsets = np.concatenate([[0], np.cumsum(told.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values[told]))
