"""Keys of [ranking] that have no effect on the examples, or with the features, that it is trained on."""

from __future__ import annotations

from collections.abc import Iterator

from models.ranking.config import RankingConfig
from workflows.core.given import Unused

__all__ = ["unused_by_config", "unused_on_log"]

OF_SAMPLED = ("negatives_per_positive", "retrieved_negatives", "candidate_pool")


def unused_by_config(config: RankingConfig, *, has_numbers: bool) -> Iterator[Unused]:
    """What the config alone tells.

    Args:
        config: the section.
        has_numbers: whether a feature is continuous.
    """
    if config.training_examples == "impressions":
        yield from _of_sampled("ranking.training_examples = 'impressions'")
    if not has_numbers:
        yield Unused("ranking.bottom", "no feature is continuous, and its layers are over such ones alone", "drop it")


def unused_on_log(config: RankingConfig, *, label: str, sampled: bool, has_valid: bool) -> Iterator[Unused]:
    """What the data tells besides.

    Args:
        config: the section.
        label: that is predicted; empty: every event is a positive.
        sampled: whether the training examples are sampled ones.
        has_valid: whether the valid split has an event.
    """
    if sampled:
        width = 1 + config.negatives_per_positive
        if config.batch_size != "auto" and config.batch_size < width:
            why = f"a positive and its negatives are {width} rows, which go into a step together"
            yield Unused("ranking.batch_size", why, f"set it to {width} or more")
        return
    yield from _of_sampled(
        f"label {label!r} is 0 and 1 in the log, so that ranking.training_examples = 'auto' takes its impressions"
    )
    if not has_valid:
        why = "the valid split is empty, so that nothing is left to stop by or to go on with"
        yield Unused("ranking.patience", why, "drop it")
        if config.refit_share:
            yield Unused("ranking.refit_share", why, "drop it, or set it to 0")


def _of_sampled(why: str) -> Iterator[Unused]:
    for key in OF_SAMPLED:
        yield Unused(f"ranking.{key}", why, "drop it, or set ranking.training_examples = 'sampled'")
