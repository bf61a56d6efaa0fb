"""Warnings before anything is trained or published, where rules, stock or seen items leave too few items."""

from __future__ import annotations

import numpy as np

from ensemble.config import Config
from ensemble.export.eligibility import count_words, eligible_items
from models.dataset.features import load_state
from workflows.core import console
from workflows.core.run import Run

__all__ = ["say_shortages", "shortages"]


def say_shortages(run: Run, config: Config) -> None:
    """Print every shortage; refuse a config that leaves no item at all.

    Raises:
        ConfigError: a rule cannot be applied.
        DataError: no item may be shown.
    """
    for sentence in shortages(run, config):
        console.say(f"chain: {sentence}")


def shortages(run: Run, config: Config) -> list[str]:
    """A sentence where fewer items may be shown than are wanted, and one where users have had them all.

    Args:
        run: its data stage has finished.
        config: rules, stock, sizes, and whether seen items are left out.
    """
    items, chain = run.folder("data") / "items.parquet", config.chain
    eligible = eligible_items(items, config)
    count, found = int(eligible.sum()), []
    why = f" ({words})" if (words := count_words(items, config)) else ""
    start = f"{count:,} of {len(eligible):,} items may be shown{why}, fewer than"
    if count < chain.slate_size:
        found.append(f"{start} chain.slate_size = {chain.slate_size}: no slate will be longer")
    elif count < min(chain.num_candidates, len(eligible)):
        found.append(f"{start} chain.num_candidates = {chain.num_candidates}: all of them are ranked")
    if chain.filter_seen:
        state = load_state(run, "serve")
        owner = np.repeat(np.arange(len(state.seen_indptr) - 1), np.diff(state.seen_indptr))
        had = np.bincount(owner[eligible[state.seen_rows]], minlength=len(state.seen_indptr) - 1)
        if finished := int((had == count).sum()):
            found.append(
                f"{finished:,} of {len(had):,} users have had every item that may be shown, so their slates are empty; "
                "chain.filter_seen = false shows items again"
            )
    return found
