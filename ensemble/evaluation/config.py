"""The [evaluate] section."""

from __future__ import annotations

from typing import Annotated

import msgspec

from models.baselines.config import BaselinesConfig
from workflows.core.section import Count, NonNegative, Positive, Section

__all__ = ["EvaluateConfig", "TargetConfig"]


class TargetConfig(Section, frozen=True):
    """A target: `value` compared with one of `above`, `at_least` and `below`.

    Attributes:
        value: a path into metrics.json, keys with dots between them, such as "sources.chain.recall@10" or
            "chain_minus.ease.recall@10.low"; an estimate stands for its value, "best_baseline" for the baseline with
            the highest mean of the metric.
        name: what the report calls it; empty: the path.
        above, at_least, below: the bound, a number or another such path.
        times: factor on the bound.
    """

    value: str
    name: str = ""
    above: float | str | None = None
    at_least: float | str | None = None
    below: float | str | None = None
    times: Positive = 1.0

    @property
    def bounds(self) -> list[float | str]:
        """The bounds that are given; a valid target has exactly one."""
        return [bound for bound in (self.above, self.at_least, self.below) if bound is not None]

    @property
    def bound(self) -> float | str:
        """The bound that is given."""
        return self.bounds[0]


class EvaluateConfig(Section, frozen=True):
    """What is measured on the test split.

    Attributes:
        cutoffs: the k of recall@k, NDCG@k and so on.
        num_users: test users drawn; 0: all.
        num_bootstrap: resamples of users behind each interval.
        knn_neighbours: neighbours kept per item by the item-kNN baseline; of several, the best on valid is taken.
        baselines: the tuned recommenders measured beside the chain.
        relevant_label: label that makes a test event relevant; empty: the ranker's label, or every event.
        segments: columns of the users table; each of their values is a slice of the report.
        targets: lines to reach, checked in the report.
        num_truth_users: test users whose best possible slate is worked out, on the simulated shop.
        num_examples: users shown with their history and slate in the report.
        seed: of every draw.
    """

    cutoffs: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1)] = (10, 20, 100)
    num_users: NonNegative = 0
    num_bootstrap: Count = 500
    knn_neighbours: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1)] = (10, 5, 20, 50, 100, 200, 500)
    baselines: BaselinesConfig = BaselinesConfig()
    relevant_label: str = ""
    segments: tuple[str, ...] = ()
    targets: tuple[TargetConfig, ...] = ()
    num_truth_users: Count = 2_000
    num_examples: NonNegative = 4
    seed: NonNegative = 1
