"""The simulated shop's truth as a function of query numbers, for the share of the best possible."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ensemble.evaluation.best import Probability
from ensemble.evaluation.queries import Queries

__all__ = ["TRUTH_FILE", "true_probability", "why_no_truth"]

TRUTH_FILE = "truth.npz"
CONTEXT = ("device", "hour")


def why_no_truth(data: Path, queries: Queries) -> str | None:
    """Why the share of the best possible cannot be stated; None where it can."""
    if not (data / TRUTH_FILE).is_file():
        return "the true probabilities are known on the simulated shop only"
    missing = [name for name in CONTEXT if name not in queries.context]
    if missing:
        return f"the true probabilities depend on {' and '.join(missing)}, which data.context does not name"
    return None


def true_probability(
    data: Path, queries: Queries, user_ids: NDArray, item_ids: NDArray, label: str | None
) -> Probability:
    """Probability of a click (of a purchase, where that is the relevant label) at the time and context of a query.

    Args:
        data: the data folder.
        queries: users, times and contexts.
        user_ids: raw ids by user_row.
        item_ids: raw ids by item_row.
        label: the relevant label.
    """
    from workflows.shop.truth import Truth

    truth = Truth.load(data / TRUTH_FILE)
    device, hour = (np.asarray(queries.context[name].to_numpy(zero_copy_only=False)) for name in CONTEXT)
    ask: Callable[..., NDArray] = truth.purchase_probability if label == "purchase" else truth.click_probability

    def probability(numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        result: NDArray[np.float32] = ask(
            user_ids[queries.user_rows[numbers]][:, None],
            item_ids[None, :],
            at=queries.at[numbers][:, None],
            device=device[numbers][:, None],
            hour=hour[numbers][:, None],
        )
        return result

    return probability
