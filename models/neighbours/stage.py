"""The fit-neighbours stage: item-item weights of both snapshots, and how their score merges with the two towers'."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.dataset.features import load_events, load_features, load_state, positive_label
from models.neighbours.config import NeighboursConfig
from models.neighbours.meta import NeighboursMeta
from workflows.core import console
from workflows.core.artefacts import Manifest
from workflows.core.device import Device, announce
from workflows.core.run import Run, run_stage

if TYPE_CHECKING:
    from models.neighbours.choose import Choice
    from models.neighbours.weights import Weights

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
    """Fit on train, choose on valid, refit what was chosen on both, write."""
    from models.neighbours.choose import choose
    from models.neighbours.weights import fit_weights

    announce("fit-neighbours", Device("cpu", "sparse counts and small systems, which need no GPU"))
    state = load_state(run, "train")
    with console.step("neighbours: relate the items", None, len(state.popularity), "items"):
        weights = fit_weights(state, config, config.l2, config.walk_powers)
    choice = choose(weights, _validation_users(run, config), config)
    num_entries = {"train": _write(weights, choice, choice.ridge, choice.walk, config.longest_list, folder / "train")}
    del weights  # the largest thing here
    l2, power = config.l2[choice.ridge], config.walk_powers[choice.walk]
    refitted = fit_weights(load_state(run, "eval"), config, [l2], [power])
    num_entries["eval"] = _write(refitted, choice, 0, 0, config.longest_list, folder / "eval")
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
    _say(meta)
    chosen = ("l2", "blend", "recency", "tower_weight", "neighbour_weight", "num_entries")
    return {name: getattr(meta, name) for name in chosen}


def _write(weights: Weights, choice: Choice, ridge: int, walk: int, longest: int, folder: Path) -> int:
    """Write the lists of one ridge and one power of the walks; how many entries they have."""
    from models.neighbours.weights import to_lists

    lists = to_lists(choice.blend.matrix(weights.regressions[ridge], weights.walks[walk]), longest)
    lists.save(folder)
    return len(lists.rows)


def _say(meta: NeighboursMeta) -> None:
    console.say(
        f"neighbours: l2 {meta.l2:g}, walk power {meta.walk_power:g} and share {meta.blend.walk_share:g}, "
        f"recency {meta.recency.boost:g} * {meta.recency.decay:g}^age, weights of towers and neighbours "
        f"{meta.tower_weight:.3g} and {meta.neighbour_weight:.3g}"
    )


def _validation_users(run: Run, config: NeighboursConfig) -> Any:
    """Users of the valid split with what they had seen at the end of training."""
    from scipy import sparse

    from models.neighbours.choose import ValidationUsers
    from models.retrieval.retriever import Retriever
    from models.retrieval.validation import validation_set

    features, state = load_features(run), load_state(run, "train")
    valid = load_events(run, "valid").select(positives_of=positive_label(features.schema, ""), known_items_only=True)
    users = validation_set(features, valid, state, config.validation_users, config.seed)
    tower = Retriever.of(run, "train")
    indptr = np.cumsum([0, *map(len, users.seen)])
    indices = np.concatenate([*users.seen, np.zeros(0, np.int32)])
    seen = sparse.csr_matrix(
        (np.ones(len(indices), np.float32), indices, indptr), shape=(len(users), features.num_items)
    )
    dim = tower.item_embeddings.shape[1]
    embedded = tower.embed(users.inputs) if len(users) else np.zeros((0, dim), np.float32)
    history = np.asarray(state.history[users.user_row])
    return ValidationUsers(users, seen, history, embedded, tower.item_embeddings)
