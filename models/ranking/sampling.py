"""Sampled examples: held-out positives with the negatives that the ranker will meet."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.dataset.features import Batch, Features, State
from models.dataset.new_positives import is_new
from models.dataset.runs import places_in_runs
from models.ranking.config import RankingConfig
from models.ranking.groups import SampledGroups
from models.ranking.live import Hide
from models.ranking.pairing import PairSource
from workflows.core import console
from workflows.features.schema import HISTORY

__all__ = ["sample_groups"]

MAX_POSITIVES = 200_000
# Each query is held against the whole catalogue: on a large one fewer are drawn, but not below the second number.
MAX_SCORES, MIN_QUERIES = 1_500_000_000, 10_000
# Quality is measured per user: without a cap a few users with very long logs would decide the weights.
MAX_POSITIVES_PER_USER = 10
BLOCK_CELLS = 20_000_000
# Popularity is flattened as usual for negatives: the head would fill them otherwise.
POPULARITY_POWER = 0.75


def sample_groups(
    positives: Batch,
    features: Features,
    state: State,
    pairs: PairSource,
    config: RankingConfig,
    hide: Hide | None = None,
) -> SampledGroups:
    """Build one group per positive event that `state`, and at best neither retrieval source, has seen.

    Each query is put as the server would have put it just before the split: user features, the event's context, and the
    history and seen items of `state`, so the target cannot be among them. Positives that the user had already seen are
    left out, since serving never shows them, and of a user with many a few are drawn. Negatives are never items that
    the user has seen or is positive for in the split.

    Args:
        positives: positive events after `state` with an item of the catalogue, column -> [R] or [R, L]; one at least is
            new to its user (`models.dataset.new_positives.is_new`).
        features: encoded features.
        state: what was known at the start of the split.
        pairs: pair features as of `state`, with a retriever that was fitted before the split.
        config: how many negatives, from where.
        hide: see SampledGroups.
    """
    random = np.random.default_rng(config.seed)
    # Of every positive, also those that are not drawn below.
    blocked = _positives_of(positives["user_row"], positives["item_row"])
    has_context = bool(features.schema.side("context"))
    batch, first = _unseen(positives, state, has_context, random)
    user_row, targets = batch["user_row"], batch["item_row"]
    history = features.history_codes(np.asarray(state.history[user_row]))
    query = features.query_inputs(user_row, batch, history)
    embedded = pairs.retriever.tower.embed({name: values[first] for name, values in query.items()})
    chance = np.maximum(state.popularity, 0.0).astype(np.float64) ** POPULARITY_POWER + 1e-9
    draw = _Draw(config, np.cumsum(chance / chance.sum()), random)
    item_rows = np.empty((len(targets), 1 + config.negatives_per_positive), np.int32)
    item_rows[:, 0] = targets
    pair = np.empty((*item_rows.shape, len(pairs.names)), np.float32)
    is_candidate = np.zeros(len(targets), bool)
    step = max(1, BLOCK_CELLS // features.num_items)
    ends = np.append(first, len(targets))
    with console.progress("ranking: draw negatives", len(targets), "positives") as bar:
        for start in range(0, len(first), step):
            block = slice(start, start + step)
            users, bounds = user_row[first[block]], ends[start : start + step + 1]
            span = slice(bounds[0], bounds[-1])
            owner = np.repeat(np.arange(len(users)), np.diff(bounds))
            neighbour = pairs.retriever.neighbour_scores(users)
            scores = pairs.retriever.merged_scores(embedded[block], neighbour)
            for place, user in enumerate(users):
                scores[place, state.seen(int(user))] = -np.inf
            is_candidate[span] = _among_best(scores, owner, targets[span], config.candidate_pool)
            for place, user in enumerate(users):
                scores[place, blocked[int(user)]] = -np.inf
            item_rows[span, 1:] = draw(scores, owner)
            of_block = (item_rows[span], owner, history[span], batch["at"][span])
            pair[span] = pairs.of_block(embedded[block], neighbour, *of_block)
            bar.advance(bar.task_ids[0], len(owner))
    groups = SampledGroups(query, item_rows, pair, user_row, features, hide)
    # What retrieval does not find is never ranked: learning to prefer it would only draw other weak candidates up.
    return groups.where(is_candidate) if is_candidate.any() else groups


def _among_best(scores: NDArray[np.float32], owner: NDArray, rows: NDArray, count: int) -> NDArray[np.bool_]:
    """Whether item `rows[g]` is among the `count` best of the row `owner[g]` of `scores` [Q, N]; bool [G]."""
    count = min(count, scores.shape[1])
    last = -np.partition(-scores, count - 1, axis=1)[:, count - 1]
    own = scores[owner, rows]
    among: NDArray[np.bool_] = np.isfinite(own) & (own >= last[owner])
    return among


class _Draw:
    """Draws negatives for a block of queries."""

    def __init__(self, config: RankingConfig, cumulated: NDArray, random: np.random.Generator) -> None:
        self._count = config.negatives_per_positive
        self._retrieved = round(config.retrieved_negatives * self._count)
        self._pool, self._cumulated, self._random = config.candidate_pool, cumulated, random

    def __call__(self, scores: NDArray, owner: NDArray) -> NDArray[np.int32]:
        """Scores [Q, N], -inf where forbidden, and the query of each group, int [G] -> item rows [G, count].

        -1 where there is none.
        """
        num_rows, num_items = len(owner), scores.shape[1]
        pool = min(self._pool, num_items)
        best = np.argpartition(-scores, pool - 1, axis=1)[:, :pool]
        best = np.where(np.isfinite(np.take_along_axis(scores, best, axis=1)), best, -1)[owner]
        # Without replacement: random keys, the forbidden ones last.
        keys = np.where(best >= 0, self._random.random(best.shape), 2.0)
        mixed = np.take_along_axis(best, np.argsort(keys, axis=1), axis=1)
        chosen = np.full((num_rows, self._count), -1, np.int32)
        width = min(self._count, pool)
        chosen[:, :width] = mixed[:, :width]
        popular = np.searchsorted(self._cumulated, self._random.random((num_rows, self._count - self._retrieved)))
        popular = np.minimum(popular, num_items - 1)
        free = np.isfinite(scores[owner[:, None], popular])
        # Where the draw is forbidden, one more retrieved candidate stays in its place.
        chosen[:, self._retrieved :] = np.where(free, popular, chosen[:, self._retrieved :])
        return chosen


def _unseen(
    columns: Batch, state: State, has_context: bool, random: np.random.Generator
) -> tuple[Batch, NDArray[np.int64]]:
    """The rows of unseen items of known users, at most MAX_POSITIVES_PER_USER of each; of all, what time allows.

    Returns:
        The rows, by user; and of each query the first row of those that it stands for: without context all of a user's.
    """
    users, num_items = columns["user_row"], len(state.popularity)
    keep = np.flatnonzero(is_new(columns, state))
    keep = _cap_per_user(keep, users[keep], random)
    if len(keep) > MAX_POSITIVES:
        keep = np.sort(random.choice(keep, MAX_POSITIVES, replace=False))
    query_of = keep if has_context else users[keep]
    queries, most = np.unique(query_of), max(MIN_QUERIES, MAX_SCORES // num_items)
    if len(queries) > most:
        keep = keep[np.isin(query_of, random.choice(queries, most, replace=False))]
    keep = keep[np.argsort(users[keep], kind="stable")]
    first = np.flatnonzero(np.diff(keep if has_context else users[keep], prepend=-1))
    return {name: values[keep] for name, values in columns.items() if name != HISTORY}, first


def _cap_per_user(keep: NDArray, users: NDArray, random: np.random.Generator) -> NDArray:
    """At most MAX_POSITIVES_PER_USER of the rows `keep` of each user, drawn at random, in their order."""
    shuffled = random.permutation(len(keep))
    order = shuffled[np.argsort(users[shuffled], kind="stable")]
    grouped = users[order]
    starts = np.flatnonzero(np.diff(grouped, prepend=grouped[0] - 1))
    place = places_in_runs(np.diff(starts, append=len(order)))
    return np.sort(keep[order[place < MAX_POSITIVES_PER_USER]])


def _positives_of(user_row: NDArray, positives: NDArray) -> dict[int, NDArray]:
    order = np.argsort(user_row, kind="stable")
    users, starts = np.unique(user_row[order], return_index=True)
    return dict(zip(users.tolist(), np.split(positives[order], starts[1:]), strict=True))
