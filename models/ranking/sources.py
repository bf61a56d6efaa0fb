"""The examples that the ranker is trained on, and those that stop the training."""

from __future__ import annotations

import numpy as np

from models.dataset.features import Features, load_events, load_state
from models.dataset.new_positives import is_new, nothing_new
from models.ranking.config import RankingConfig
from models.ranking.groups import GroupSource, ImpressionGroups, SampledGroups
from models.ranking.latest import hold_back_latest
from models.ranking.live import hide_of
from models.ranking.pairing import pairs_as_of
from models.ranking.sampling import sample_groups
from models.ranking.tasks import resolve_tasks
from workflows.core import console
from workflows.core.run import Run

__all__ = ["training_sources"]

HELD_OUT_SHARE = 0.2


def training_sources(
    run: Run, config: RankingConfig, features: Features, label: str, names: list[str], sampled: bool
) -> tuple[GroupSource, GroupSource | None, GroupSource | None]:
    """Rows to train on, rows to stop by, and both together; the last two are None where no row can be held out.

    Args:
        run: its retrieval and neighbours stages have finished.
        config: of the ranker.
        features: of the run.
        label: to predict; empty: every event is a positive.
        names: of the pair features.
        sampled: whether the examples are sampled ones rather than the log's impressions.
    """
    if sampled:
        groups = _sampled_groups(run, config, features, label, names)
        if len(np.unique(groups.user_row)) < 2:
            return groups, None, None
        held_out = _held_out(groups.user_row, config.seed)
        return groups.where(~held_out), groups.where(held_out), groups
    state = load_state(run, "train")
    pairs = pairs_as_of(run, features, names, "train", state)
    splits = (("train",), ("valid",), ("train", "valid"))
    hide, tasks = hide_of(run, features, names), resolve_tasks(config, label)
    train, valid, both = (
        ImpressionGroups(load_events(run, *s), label, features, pairs, hide=hide, tasks=tasks) for s in splits
    )
    return (train, valid, both) if valid.num_rows else (train, None, None)


def _sampled_groups(run: Run, config: RankingConfig, features: Features, label: str, names: list[str]) -> SampledGroups:
    """Positives that retrieval has not learnt from, with negatives; where valid has none, the latest ones of train."""
    state = load_state(run, "train")
    positives = load_events(run, "valid").select(positives_of=label, known_items_only=True).columns
    if not is_new(positives, state).any():
        console.say(
            f"ranking: {nothing_new(run, 'valid', label)}; the latest train positive of each user is taken instead, "
            "from which retrieval has learnt: expect the ranker to add little to its order"
        )
        positives = load_events(run, "train").select(positives_of=label, known_items_only=True).columns
        positives, state = hold_back_latest(positives, state)
    pairs = pairs_as_of(run, features, names, "train", state)
    return sample_groups(positives, features, state, pairs, config, hide_of(run, features, names))


def _held_out(user_row: np.ndarray, seed: int) -> np.ndarray:
    """Bool [R]: all groups of a fifth of the users, at least one user on each side where there are two."""
    users = np.unique(user_row)
    count = min(max(1, round(HELD_OUT_SHARE * len(users))), max(len(users) - 1, 1))
    return np.isin(user_row, np.random.default_rng(seed).choice(users, count, replace=False))
