"""The [evaluate] section."""

from __future__ import annotations

from workflows.core.section import Count, NonNegative, Section

__all__ = ["EvaluateConfig"]


class EvaluateConfig(Section, frozen=True):
    """What is measured on the test split.

    Attributes:
        cutoffs: the k of recall@k, NDCG@k and so on.
        num_users: test users drawn; 0: all.
        num_bootstrap: resamples of users behind each interval.
        knn_neighbours: neighbours kept per item by the item-kNN baseline.
        relevant_label: label that makes a test event relevant; empty: the ranker's label, or every event.
    """

    cutoffs: tuple[Count, ...] = (10, 20, 100)
    num_users: NonNegative = 0
    num_bootstrap: Count = 500
    knn_neighbours: Count = 200
    relevant_label: str = ""
    seed: NonNegative = 1
