"""The baselines: which parameters of each are tried, from where, and what each needs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import msgspec
from numpy.typing import NDArray

from models.baselines.als import ALS
from models.baselines.base import Baseline
from models.baselines.bm25_knn import BM25KNN
from models.baselines.bpr import BPR
from models.baselines.config import BaselinesConfig
from models.baselines.ease import EASE
from models.baselines.item_knn import ItemKNN
from models.baselines.popularity import Popularity
from models.baselines.rp3beta import RP3beta
from models.baselines.segment_popularity import SegmentPopularity
from models.baselines.tuning import Grid
from workflows.core.extras import why_missing

__all__ = ["Choice", "chosen_baselines", "why_not"]

NEIGHBOURS = (200, 10, 20, 50, 100, 500, 1000)


class Choice(msgspec.Struct, frozen=True):
    """One recommender to beat.

    Attributes:
        build: an unfitted model from its parameters.
        name: the source's name in the report.
        grid: parameter -> values, the starting one first; empty: nothing to tune.
        package: the distribution that it needs beyond numpy and scipy.
    """

    build: Callable[..., Baseline]
    name: str
    grid: Grid = {}
    package: str = ""


BASELINES = (
    Choice(
        BM25KNN,
        BM25KNN.name,
        {
            "k1": (1.2, 0.5, 3.0, 100.0),
            "b": (0.75, 0.25, 0.5, 1.0),
            "num_neighbours": NEIGHBOURS,
            "by_candidate": (False, True),
        },
        "implicit",
    ),
    Choice(
        RP3beta,
        RP3beta.name,
        {"num_neighbours": NEIGHBOURS, "alpha": (1.0, 0.6, 0.8, 1.2), "beta": (0.5, 0.0, 0.2, 0.3, 0.4, 0.6, 0.7)},
    ),
    Choice(
        ALS,
        ALS.name,
        {
            "factors": (64, 16, 32, 128, 256),
            "regularization": (10.0, 0.1, 1.0, 3.0, 30.0, 100.0),
            "alpha": (1.0, 2.0, 5.0, 15.0),
            "iterations": (15, 30),
        },
        "implicit",
    ),
    Choice(
        BPR,
        BPR.name,
        {
            "learning_rate": (0.05, 0.02, 0.1),
            "regularization": (0.01, 0.003, 0.03),
            "iterations": (50, 100, 200),
            "factors": (64, 128),
        },
        "implicit",
    ),
    Choice(EASE, EASE.name, {"l2": (200.0, 100.0, 150.0, 300.0, 50.0, 500.0, 1000.0)}),
)


def chosen_baselines(
    config: BaselinesConfig, knn_neighbours: Sequence[int], segment: NDArray | None = None
) -> list[Choice]:
    """Popularity and item-kNN, then the other baselines that are asked for, in a fixed order.

    Args:
        config: which.
        knn_neighbours: sizes that item-kNN may have.
        segment: the segment of every user, [U]; given, popularity within it is one more choice.
    """
    shrinkage = (0.0, 5.0, 20.0) if config.use else (0.0,)
    common = [
        Choice(Popularity, Popularity.name),
        Choice(ItemKNN, ItemKNN.name, {"num_neighbours": tuple(knn_neighbours), "shrinkage": shrinkage}),
    ]
    if config.use and segment is not None:
        common.insert(1, Choice(functools.partial(SegmentPopularity, segment), name=SegmentPopularity.name))
    return [*common, *(choice for choice in BASELINES if config.use and choice.name in config.names)]


def why_not(choice: Choice, config: BaselinesConfig, num_items: int) -> str | None:
    """One sentence on why a choice cannot be measured here; None where it can."""
    if choice.package and (reason := why_missing(choice.package, choice.package, "baselines")):
        return f"{choice.name} {reason}, then use --force"
    if choice.name == EASE.name and num_items > config.ease_up_to_items:
        return (
            f"{choice.name} is fitted on catalogues of up to {config.ease_up_to_items:,} items, this one has "
            f"{num_items:,}: raise evaluate.baselines.ease_up_to_items where memory and time allow"
        )
    return None
