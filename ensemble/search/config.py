"""The [search] section."""

from __future__ import annotations

from typing import Literal

from workflows.core.section import Count, NonNegative, Section

__all__ = ["SearchConfig", "SearchedStage"]

SearchedStage = Literal["retrieval", "ranking"]


class SearchConfig(Section, frozen=True):
    """What `cascade search` varies and how long.

    Attributes:
        params: config key -> distribution: "uniform(0.0, 0.5)", "loguniform(0.05, 0.5)", "int(1, 4)", "logint(16, 256)"
            or "choice([64], [128, 64])", whose values are TOML.
        stage: the stage that is trained; keys of this section alone can be varied.
        metric: of the epochs in its history.json; empty: recall at retrieval.validation_cutoff, or the ranker's
            valid_loss. The names that end in "loss" are to be small, all others large.
        num_trials: in all, those of earlier runs of the same search included.
        num_warm_up_trials: trials before any is pruned and before the sampler learns from them.
        num_warm_up_epochs: epochs of a trial before it may be pruned.
        seed: of the sampler.
    """

    params: dict[str, str] = {}
    stage: SearchedStage = "retrieval"
    metric: str = ""
    num_trials: Count = 30
    num_warm_up_trials: Count = 5
    num_warm_up_epochs: NonNegative = 2
    seed: NonNegative = 1
