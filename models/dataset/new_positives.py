"""Whether a split holds positives that are new to their user, which validation and the sampled ranker need."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.dataset.features import Batch, State, load_events, load_state
from workflows.core.run import Run

__all__ = ["is_new", "nothing_new"]


def is_new(columns: Batch, state: State) -> NDArray[np.bool_]:
    """Which events are of a known user and of an item that the user has not had in `state`; bool [R].

    Args:
        columns: user_row and item_row, int [R] each.
        state: what is known at the start of the events.
    """
    users, num_items = columns["user_row"].astype(np.int64), len(state.popularity)
    owners = np.repeat(np.arange(len(state.seen_indptr) - 1), np.diff(state.seen_indptr))
    seen = owners * num_items + np.asarray(state.seen_rows)
    new: NDArray[np.bool_] = (users >= 0) & ~np.isin(users * num_items + columns["item_row"], seen)
    return new


def nothing_new(run: Run, split: Literal["valid", "test"], label: str) -> str:
    """Say why no user of a split has a positive of the catalogue that is new to it: the start of a sentence.

    Args:
        run: its features stage has finished.
        split: which holds none.
        label: makes an event a positive; empty: every event is one.
    """
    events = load_events(run, split)
    positives = events.select(positives_of=label)
    known = positives.select(known_items_only=True)
    if not len(events):
        return f"the {split} split is empty"
    if not len(positives):
        return f"none of the {len(events):,} events of the {split} split has {label} = 1"
    if not len(known):
        return f"none of the {len(positives):,} positives of the {split} split is of an item of the catalogue"
    state = load_state(run, "train" if split == "valid" else "eval")
    num_had = int((~is_new(known.columns, state)).sum())
    return f"all {num_had:,} positives of the {split} split that are of the catalogue are of items that their user had"
