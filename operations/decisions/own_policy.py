"""The policy that drew a log, at another temperature: a softmax of its utilities, where nothing else drew it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.ope.target import explained
from operations.replay.replay import chain_of, grouped, version_of
from operations.replay.requests import Row
from runtime.spec import CHAIN_FILE
from workflows.core.errors import DataError
from workflows.decisions.log import DecisionLog

__all__ = ["check_of_mon", "check_own_policy"]

WAY_OUT = (
    "a softmax of its utilities at another temperature does not give the probabilities of such slates; name a run that "
    "is exported without them as --policy, or Parquet with the choices of another policy"
)


def check_of_mon(folder: Path, rows: Sequence[Row]) -> None:
    """Refuse drawn slates of chains whose places depend on those before them.

    A rule that hardly bound at the temperature of the log binds at another, so the logged propensities do not tell.

    Args:
        folder: MON.
        rows: of drawn slates.

    Raises:
        DataError: a chain that drew some of them follows pins, caps, floors, diversity or calibration.
    """
    for key, layout, number in grouped(rows):
        with version_of(chain_of(folder, key), layout, number).opened() as (plan, _):
            # Read as it stands: the version may be of another release.
            order = json.loads((plan / CHAIN_FILE).read_text()).get("order") or {}
        if any(value for name, value in (order.get("slates") or {}).items() if name != "boosts"):
            raise DataError(
                f"slates of {folder} were drawn by version {number} with pins, caps, floors, diversity or calibration, "
                f"and {WAY_OUT}"
            )


def check_own_policy(path: Path, log: DecisionLog) -> None:
    """Refuse a log whose utilities and temperature do not give its propensities.

    Raises:
        DataError: they do not, of some slate that says both.
    """
    told = log.has_candidates & ~np.isnan(log.temperature)
    wrong = told & ~explained(log)
    if wrong.any():
        raise DataError(
            f"{wrong.sum():,} of {told.sum():,} slates of {path}, {log.request_ids[wrong][0]} for one, were drawn with "
            f"other chances than its utilities give: pins, caps, floors, diversity or calibration decide too, and "
            f"{WAY_OUT}"
        )
