"""The inputs that all sources share in an evaluation, read once."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from ensemble.config import Config
from ensemble.evaluation.queries import Queries, load_queries, read_segment
from ensemble.export.eligibility import eligible_items
from models.dataset.features import State, load_state
from workflows.core.run import Run

__all__ = ["Setting", "open_setting"]


class Setting(msgspec.Struct, frozen=True):
    """The inputs that all sources share.

    Attributes:
        queries: the Q queries.
        state: what is known before the test split.
        eligible: bool [N], in stock and allowed by the rules.
        user_ids, item_ids: raw ids by row.
        segments: column of the users table -> its values as text, by user_row.
    """

    queries: Queries
    state: State
    eligible: NDArray[np.bool_]
    user_ids: NDArray
    item_ids: NDArray
    segments: dict[str, NDArray] = {}


def open_setting(run: Run, config: Config) -> Setting:
    """Read the inputs that all sources share.

    Raises:
        DataError: there is no such column of users.
    """
    data = run.folder("data")
    state = load_state(run, "eval")
    user_ids, item_ids = (np.load(data / "ids" / f"{side}.npy", allow_pickle=False) for side in ("users", "items"))
    eligible = eligible_items(data / "items.parquet", config)
    segments = {column: read_segment(data / "users.parquet", column) for column in config.evaluate.segments}
    return Setting(load_queries(run, config, state), state, eligible, user_ids, item_ids, segments)
