"""The [evaluate] section."""

from __future__ import annotations

from typing import Annotated

import msgspec

from models.baselines.config import PeersConfig
from workflows.core.section import Count, NonNegative, Section

__all__ = ["EvaluateConfig"]


class EvaluateConfig(Section, frozen=True):
    """What is measured on the test split.

    Attributes:
        cutoffs: the k of recall@k, NDCG@k and so on.
        num_users: test users drawn; 0: all.
        num_bootstrap: resamples of users behind each interval.
        knn_neighbours: neighbours kept per item by the item-kNN baseline; of several, the best on valid is taken.
        peers: the tuned recommenders measured beside the chain.
        relevant_label: label that makes a test event relevant; empty: the ranker's label, or every event.
        num_truth_users: test users whose best possible slate is worked out, on the simulated shop.
        num_examples: users shown with their history and slate in the report.
        seed: of every draw.
    """

    cutoffs: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1)] = (10, 20, 100)
    num_users: NonNegative = 0
    num_bootstrap: Count = 500
    knn_neighbours: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1)] = (10, 20, 50, 100, 200)
    peers: PeersConfig = PeersConfig()
    relevant_label: str = ""
    num_truth_users: Count = 2_000
    num_examples: NonNegative = 4
    seed: NonNegative = 1
