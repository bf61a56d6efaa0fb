"""The fit-neighbours stage: item-item weights of both moments, and how their score merges with the two towers'."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.dataset.features import load_events, load_features, load_state, positive_label
from models.neighbours.config import NeighboursConfig
from models.neighbours.meta import NeighboursMeta
from workflows.core import console
from workflows.core.artefacts import Manifest
from workflows.core.device import Device, announce
from workflows.core.run import Run, run_stage

__all__ = ["fit_neighbours"]

STAGE = "neighbours"


def fit_neighbours(run: Run, config: NeighboursConfig, force: bool = False) -> Manifest:
    """Fit the item-item source and choose its settings on the valid split.

    Raises:
        ArtefactError: an earlier stage has not finished.
    """
    return run_stage(
        run,
        STAGE,
        config={STAGE: config},
        after=("data", "features", "retrieval"),
        body=lambda folder: _fit(run, config, folder),
        force=force,
    )


def _fit(run: Run, config: NeighboursConfig, folder: Path) -> Mapping[str, Any]:
    from models.neighbours.choose import choose
    from models.neighbours.weights import fit_weights, to_lists

    announce("fit-neighbours", Device("cpu", "sparse counts and small systems, which need no GPU"))
    weights = fit_weights(load_state(run, "train"), config, config.l2, config.walk_powers)
    choice = choose(weights, _asked(run, config), config)
    num_entries = {}
    l2, power = config.l2[choice.ridge], config.walk_powers[choice.walk]
    regression, walks = weights.regressions[choice.ridge], weights.walks[choice.walk]
    for moment in ("train", "eval"):
        if moment == "eval":
            del weights  # the largest thing here
            weights = fit_weights(load_state(run, moment), config, [l2], [power])
            regression, walks = weights.regressions[0], weights.walks[0]
        lists = to_lists(choice.blend.matrix(regression, walks), config.longest_list)
        lists.save(folder / moment)
        num_entries[moment] = len(lists.rows)
    meta = NeighboursMeta(
        tower_weight=choice.tower_weight,
        neighbour_weight=choice.neighbour_weight,
        l2=l2,
        walk_power=power,
        blend=choice.blend,
        recency=choice.recency,
        num_entries=num_entries,
        measured=tuple(choice.measured),
    )
    meta.save(folder)
    console.say(
        f"neighbours: l2 {l2:g}, walk power {power:g} and share {choice.blend.walk_share:g}, "
        f"recency {choice.recency.boost:g} * {choice.recency.decay:g}^age, weights of towers and neighbours "
        f"{choice.tower_weight:.3g} and {choice.neighbour_weight:.3g}"
    )
    return {
        name: getattr(meta, name)
        for name in ("l2", "blend", "recency", "tower_weight", "neighbour_weight", "num_entries")
    }


def _asked(run: Run, config: NeighboursConfig) -> Any:
    """Users of the valid split with what they had at the end of training."""
    from scipy import sparse

    from models.neighbours.choose import Asked
    from models.retrieval.retriever import Retriever
    from models.retrieval.validation import validation_set

    features, state = load_features(run), load_state(run, "train")
    valid = load_events(run, "valid").select(positives_of=positive_label(features.schema, ""), known_items_only=True)
    users = validation_set(features, valid, state, config.validation_users, config.seed)
    tower = Retriever.of(run, "train")
    indptr = np.cumsum([0, *map(len, users.seen)])
    indices = np.concatenate([*users.seen, np.zeros(0, np.int32)])
    owned = sparse.csr_matrix(
        (np.ones(len(indices), np.float32), indices, indptr), shape=(len(users), features.num_items)
    )
    dim = tower.item_embeddings.shape[1]
    embedded = tower.embed(users.inputs) if len(users) else np.zeros((0, dim), np.float32)
    history = np.asarray(state.history[users.user_row])
    return Asked(users, owned, history, embedded, tower.item_embeddings)
