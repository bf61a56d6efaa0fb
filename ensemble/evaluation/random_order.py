"""How well the ranker orders what chance displayed, beside popularity: every display counts, clicked or not.

A slate of ten out of thousands of items rarely holds an item that chance displayed, so recall there needs many events.
The order of the displayed items themselves needs few: AUC is the probability that a clicked one scores above one that
was not clicked, over all pairs of displays or only over pairs of one user (there what a user clicks in general plays no
part). Displays weigh 1 / propensity, a pair the product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ensemble.config import Config
from models.dataset.features import load_state
from models.metrics.bootstrap import Resamples, interval
from models.metrics.paired import Scored, within_users
from workflows.core.run import Run
from workflows.tables.split import PROPENSITY

__all__ = ["measure_order", "random_order"]

Floats = NDArray[np.float64]


def random_order(run: Run, config: Config, labels: NDArray, probabilities: NDArray) -> dict[str, Any]:
    """The record "random_display" of the ranker; empty where data.propensity names no column.

    Args:
        run: its ranking stage has finished.
        config: of the run.
        labels: [R] of the test events of known items, in their order.
        probabilities: [R], the ranker's.
    """
    if not config.data.propensity:
        return {}
    parts = sorted((run.folder("data") / "test").glob("*.parquet"))
    table = pa.concat_tables([pq.read_table(path, columns=["user_row", "item_row", PROPENSITY]) for path in parts])
    user, item = (np.asarray(table[name].to_numpy(), np.int64) for name in ("user_row", "item_row"))
    propensity = np.asarray(table[PROPENSITY].to_numpy(), np.float64)[item >= 0]
    user, item = user[item >= 0], item[item >= 0]
    kept = propensity > 0  # NaN: a policy chose
    popularity = np.asarray(load_state(run, "eval").popularity)[item[kept]]
    scores = {"ranker": probabilities[kept], "popularity": popularity}
    resamples = Resamples(config.evaluate.num_bootstrap, config.evaluate.seed)
    found = measure_order(scores, np.asarray(labels)[kept], user[kept], 1.0 / propensity[kept], resamples)
    return {"random_display": found}


def measure_order(
    scores: dict[str, NDArray], labels: NDArray, users: NDArray[np.int64], weights: Floats, resamples: Resamples
) -> dict[str, Any]:
    """AUC of the scores "ranker" and "popularity", and the ranker's minus popularity's.

    Args:
        scores: name -> [R].
        labels: [R], 1 or 0.
        users: [R], whose row it is.
        weights: float64 [R].
        resamples: the plan; users are drawn.

    Returns:
        "num_rows", "num_positive", "num_users" and, where both labels occur, "ranker", "popularity" and
        "minus_popularity" -> {"auc", where one user has both labels also "auc_within_users" -> {"value", "low",
        "high"}}.
    """
    owner = np.unique(users, return_inverse=True)[1]
    num_users = int(owner.max(initial=-1)) + 1
    record: dict[str, Any] = {
        "num_rows": len(labels),
        "num_positive": int((np.asarray(labels) > 0.5).sum()),
        "num_users": num_users,
    }
    if not 0 < record["num_positive"] < record["num_rows"]:
        return record
    scored = {name: Scored.of(labels, values) for name, values in scores.items()}
    pairs = {name: within_users(labels, values, owner, weights) for name, values in scores.items()}
    measures: dict[str, Callable[[str, Floats], float]] = {
        "auc": lambda name, drawn: scored[name].auc(drawn[owner] * weights)
    }
    if pairs["ranker"][1].any():
        measures["auc_within_users"] = lambda name, drawn: _ratio(*(float(drawn @ part) for part in pairs[name]))
    every = np.ones(num_users)
    draws = [row for some in resamples.weights(num_users) for row in some]
    record |= {"ranker": {}, "popularity": {}, "minus_popularity": {}}
    for measure, ask in measures.items():
        value = {name: ask(name, every) for name in ("ranker", "popularity")}
        drawn = {name: np.array([ask(name, row) for row in draws]) for name in value}
        value["minus_popularity"] = value["ranker"] - value["popularity"]
        drawn["minus_popularity"] = drawn["ranker"] - drawn["popularity"]
        for name in value:
            record[name][measure] = msgspec.to_builtins(interval(value[name], drawn[name]))
    return record


def _ratio(won: float, pairs: float) -> float:
    return float(won / pairs) if pairs else float("nan")
