"""Going on from the best epoch over more rows, for what is served: how long, and with which steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from models.ranking.config import RankingConfig
from models.retrieval.config import RetrievalConfig

__all__ = ["epochs_to_best", "refitting"]

Config = TypeVar("Config", RankingConfig, RetrievalConfig)


def epochs_to_best(history: Sequence[dict[str, Any]]) -> int:
    """How many epochs the best one ended, from a record per epoch that says whether it was the best."""
    return 1 + [record["best"] for record in history].index(True)


def refitting(config: Config, num_epochs: int, seed: int) -> Config:
    """The config of a refit: a share of the epochs, a learning rate that falls from half, and other draws.

    Args:
        config: of the training that found the best epoch.
        num_epochs: that the best epoch was the last of; `config.refit_share` of them follow.
        seed: of the draws.
    """
    max_epochs = math.ceil(config.refit_share * num_epochs)
    return msgspec.structs.replace(config, max_epochs=max_epochs, learning_rate=config.learning_rate / 2, seed=seed)
