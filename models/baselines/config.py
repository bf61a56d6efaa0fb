"""The [evaluate.baselines] section."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from workflows.core.section import Count, NonNegative, Positive, Section

__all__ = ["BaselineName", "BaselinesConfig"]

BaselineName = Literal["bm25_knn", "rp3beta", "als", "bpr", "ease"]


class BaselinesConfig(Section, frozen=True):
    """The tuned recommenders that the chain is measured against (`cascade evaluate --baselines`).

    Attributes:
        use: whether all of `names` are measured; otherwise popularity and item-kNN alone.
        names: which ones, beside popularity and item-kNN, which are always measured, and popularity in the segment,
            which is where evaluate.segments names one.
        budget_s: seconds that the search of one baseline on valid may take; the trial under way is finished.
        ease_up_to_items: largest catalogue that EASE is fitted on; fitting holds 2 N^2 float32, 3.2 GB at 20,000 items.
        tuning_users: validation users drawn for the search; 0: all.
    """

    use: bool = False
    names: Annotated[tuple[BaselineName, ...], msgspec.Meta(min_length=1)] = (
        "bm25_knn",
        "rp3beta",
        "als",
        "bpr",
        "ease",
    )
    budget_s: Positive = 120.0
    ease_up_to_items: Count = 20_000
    tuning_users: NonNegative = 2_000
