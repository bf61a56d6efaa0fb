"""[ranking] with nothing left open: what the training loop reads."""

from __future__ import annotations

from typing import Any

from models.ranking.config import RankingConfig
from workflows.core.section import Count

__all__ = ["LARGEST_BATCH", "RankerTraining", "settled"]

# "auto" batches: epochs are few, as the learning rate falls, so that a small table makes them of smaller batches.
LARGEST_BATCH, SMALLEST_BATCH, STEPS_PER_EPOCH = 4096, 64, 32


class RankerTraining(RankingConfig, frozen=True):
    """The training of the ranker; the keys are those of [ranking].

    Attributes:
        batch_size: (query, item) rows a step of this process.
        use_user_id: whether there is a user id embedding.
    """

    batch_size: Count = LARGEST_BATCH
    use_user_id: bool = False


def settled(config: RankingConfig, num_rows: int) -> RankerTraining:
    """Decide the size of a batch.

    Args:
        config: in which `use_user_id` is decided (`models.ranking.rules.wants_user_id`).
        num_rows: (query, item) rows that a process trains on in an epoch.
    """
    given: dict[str, Any] = {name: getattr(config, name) for name in RankingConfig.__struct_fields__}
    if config.batch_size == "auto":
        given["batch_size"] = auto_batch_size(num_rows)
    return RankerTraining(**given)


def auto_batch_size(num_rows: int) -> int:
    """The largest power of two between both bounds with which an epoch has its steps, or the smaller bound.

    Args:
        num_rows: of an epoch of one process.
    """
    most = max(num_rows // STEPS_PER_EPOCH, SMALLEST_BATCH)
    return min(1 << most.bit_length() - 1, LARGEST_BATCH)
