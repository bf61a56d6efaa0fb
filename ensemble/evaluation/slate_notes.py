"""What the rules of slates made of those that are measured: how alike their items are, and who has which share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ensemble.config import Config
from ensemble.evaluation.queries import Queries
from ensemble.export.eligibility import column_of, holds
from ensemble.export.slate_files import codes_of
from ensemble.export.strength import cosine_of_pairs, same_of_pairs
from models.dataset.features import State
from runtime.calibration import divergence
from workflows.core.run import Run

__all__ = ["slate_notes"]


def slate_notes(run: Run, config: Config, queries: Queries, state: State, slates: NDArray[np.int32]) -> Iterator[str]:
    """A sentence for diversity, for calibration and for each floor that is a share; none where the config has none.

    Args:
        run: for the items.
        config: with the rules.
        queries: Q of them.
        state: the histories of the users.
        slates: item rows [Q, K] of the chain; -1: none.
    """
    chain, items = config.chain, run.folder("data") / "items.parquet"
    slates = slates[:, : chain.slate_size]
    if chain.order.diversity != "none":
        vectors = np.load(run.folder("retrieval") / "item_embeddings.npy", allow_pickle=False)
        said = [f"their cosine by the item tower is {cosine_of_pairs(vectors, slates):.3f}"]
        for name in chain.order.alike:
            same = same_of_pairs(codes_of(items, name, "chain.order.alike"), slates)
            said.append(f"{same:.1%} have the same {name}")
        yield f"Of two items of a slate of {chain.slate_size}, {', '.join(said)} (chain.order.diversity)."
    if chain.order.calibrate is not None:
        name = chain.order.calibrate.column
        codes = codes_of(items, name, "chain.order.calibrate.column")
        history = np.asarray(state.history)[queries.user_rows]
        each = [
            divergence(codes[had[had >= 0]], codes[own[own >= 0]]) for had, own in zip(history, slates, strict=True)
        ]
        if known := [value for value in each if not np.isnan(value)]:
            yield (
                f"The divergence of a history's {name} from the slate's is {np.mean(known):.3f}, the mean over "
                f"{len(known):,} users with a history (chain.order.calibrate)."
            )
    for number, floor in enumerate(chain.floors):
        if floor.share is not None:
            key = f"chain.floors[{number}]"
            kind = holds(column_of(items, floor.column, f"{key}.column"), floor, key)
            shown = slates[:, : floor.top or None]
            share = float(kind[shown[shown >= 0]].mean()) if (shown >= 0).any() else 0.0
            yield f"The items of {key} have {share:.1%} of the places; their floor is {floor.share:.1%}."
