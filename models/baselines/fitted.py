"""The baselines of a run, fitted on the positives of train and valid; item-kNN's size is chosen on valid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.baselines.base import Baseline
from models.baselines.item_knn import ItemKNN
from models.baselines.popularity import Popularity
from models.data import State, load_events, load_state, positive_label
from models.metrics.ranking import per_user
from workflows.core.run import Run
from workflows.features.schema import FeatureSchema

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["choose_neighbours", "fitted_baselines", "interaction_matrix"]

TUNING_CUTOFF = 20
TUNING_USERS = 2_000


def interaction_matrix(state: State) -> csr_matrix:
    """The positives known at a moment: 1.0 where the user had the item; float32 [U, N]."""
    from scipy.sparse import csr_matrix

    shape = (len(state.seen_indptr) - 1, len(state.popularity))
    ones = np.ones(len(state.seen_rows), np.float32)
    return csr_matrix((ones, np.asarray(state.seen_rows), np.asarray(state.seen_indptr)), shape=shape)


def fitted_baselines(run: Run, neighbours: Sequence[int], seed: int) -> list[Baseline]:
    """Popularity and item-kNN, fitted on train and valid.

    Args:
        run: its data and features stages have finished.
        neighbours: sizes that item-kNN may have; the one with the best validation NDCG is taken.
        seed: of the validation users drawn.
    """
    state = load_state(run, "eval")
    interactions, popularity = interaction_matrix(state), np.asarray(state.popularity)
    models: list[Baseline] = [Popularity(), ItemKNN(choose_neighbours(run, neighbours, seed))]
    for model in models:
        model.fit(interactions, popularity)
    return models


def choose_neighbours(run: Run, neighbours: Sequence[int], seed: int) -> int:
    """The size of item-kNN with the best NDCG@20 on valid when fitted on train; the first where valid is empty."""
    if len(neighbours) == 1:
        return neighbours[0]
    state = load_state(run, "train")
    seen, popularity = interaction_matrix(state), np.asarray(state.popularity)
    users, indptr, rows = _validation(run, seen, seed)
    if not len(users):
        return neighbours[0]
    model = ItemKNN(max(neighbours))
    model.fit(seen, popularity)
    everything = np.ones(seen.shape[1], bool)
    quality = {}
    for size in sorted(neighbours, reverse=True):  # each is cut from the one before
        model = model.with_neighbours(size)
        slates, _ = model.recommend(users, TUNING_CUTOFF, eligible=everything, seen=seen)
        quality[size] = per_user(slates, indptr, rows, [TUNING_CUTOFF])[f"ndcg@{TUNING_CUTOFF}"].mean()
    return max(quality, key=quality.__getitem__)


def _validation(
    run: Run, seen: csr_matrix, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Validation users, and their new positives as (indptr, rows)."""
    schema = FeatureSchema.load(run.folder("features") / "schema.json")
    label = positive_label(schema, "")
    events = load_events(run, "valid").select(positives_of=label, known_items_only=True).columns
    pairs = np.unique(events["user_row"].astype(np.int64) * seen.shape[1] + events["item_row"])
    user, item = np.divmod(pairs, seen.shape[1])
    new = np.asarray(seen[user, item]).ravel() == 0 if len(user) else np.zeros(0, bool)
    user, item = user[new], item[new]
    users = np.unique(user)
    if len(users) > TUNING_USERS:
        users = np.sort(np.random.default_rng(seed).choice(users, TUNING_USERS, replace=False))
        drawn = np.isin(user, users)
        user, item = user[drawn], item[drawn]
    return users, np.searchsorted(user, np.append(users, seen.shape[0])), item
