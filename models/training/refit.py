"""Going on from the best epoch over more examples, for what is served: how long, and with which steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import msgspec

__all__ = ["epochs_to_best", "refitting"]


class Refitted(Protocol):
    """The keys of a training's section that a refit reads and changes."""

    @property
    def refit_share(self) -> float: ...
    @property
    def learning_rate(self) -> float: ...


Config = TypeVar("Config", bound=Refitted)


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
    section: Any = config
    refitted: Config = msgspec.structs.replace(
        section, max_epochs=max_epochs, learning_rate=config.learning_rate / 2, seed=seed
    )
    return refitted
