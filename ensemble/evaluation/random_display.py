"""Quality on what chance displayed: the only clicks that do not depend on what an earlier policy chose to show.

A logged click needs a display. Where a policy chose the display, clicks fall on what it liked, and a source that
resembles it looks good. Where chance displayed the item with a known probability p (data.propensity), a click that
weighs 1 / p stands for all the clicks that the item would have got if every item had been displayed alike. So

    recall@k = sum over such clicks in the first k items of their user's slate of 1 / p  /  the sum over all of them

estimates which share of everything that users would click a source puts into its slates. It is one ratio over all users
(not a mean of ratios, in which the weight of a user's single click would cancel); intervals resample users.

References: Horvitz and Thompson, JASA 47(260), 1952 (inverse probabilities); Swaminathan and Joachims, "The
self-normalized estimator for counterfactual learning", NeurIPS 2015; Schnabel et al., "Recommendations as treatments",
ICML 2016 (recommenders evaluated so).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.dataset.features import State
from models.metrics.bootstrap import Resamples, interval

__all__ = ["Displayed", "measure_random_display"]

Floats = NDArray[np.float64]
CHUNK_CELLS = 4_000_000


class Displayed(msgspec.Struct, frozen=True):
    """The positive test events on what chance displayed, D of them; a pair that was displayed twice counts twice.

    Attributes:
        owner: int64 [D], query numbers, ascending.
        rows: int64 [D], item rows; -1: outside the catalogue, which nobody can show.
        weights: float64 [D], 1 / propensity.
        num_displays: test events that chance displayed to the queried users, clicked or not.
    """

    owner: NDArray[np.int64]
    rows: NDArray[np.int64]
    weights: Floats
    num_displays: int


def measure_random_display(
    slates: Mapping[str, NDArray[np.int32]],
    displayed: Displayed,
    user_rows: NDArray[np.int64],
    *,
    state: State | None,
    eligible: NDArray[np.bool_],
    cutoffs: Sequence[int],
    resamples: Resamples,
) -> dict[str, Any]:
    """The record "random_display" of metrics.json.

    Args:
        slates: source -> item rows [Q, K], best first; "chain" among them.
        displayed: clicks on what chance displayed.
        user_rows: int64 [Q].
        state: seen items, which no source shows; None where they may be shown.
        eligible: bool [N].
        cutoffs: every k.
        resamples: the plan of the bootstrap; users are drawn.

    Returns:
        "num_displays", "num_positive", "num_users" and, where there is such a click, "sources" -> metric -> {"value",
        "low", "high"}, "chain_minus" -> the same of the paired differences, and "drawn": metric -> the expected value
        of a slate of k allowed items drawn at random.
    """
    users, owner = np.unique(displayed.owner, return_inverse=True)
    record: dict[str, Any] = {
        "num_displays": displayed.num_displays,
        "num_positive": len(owner),
        "num_users": len(users),
    }
    if not len(users):
        return record
    total: Floats = np.bincount(owner, displayed.weights).astype(np.float64)
    caught = {source: _caught(rows, displayed, owner, len(users), cutoffs) for source, rows in slates.items()}
    names = [f"recall@{k}" for k in cutoffs]
    sources, minus = _estimates(total, caught, resamples)
    drawn = _drawn(displayed, user_rows, state, eligible, cutoffs)
    return record | {
        "sources": {source: dict(zip(names, row, strict=True)) for source, row in sources.items()},
        "chain_minus": {source: dict(zip(names, row, strict=True)) for source, row in minus.items()},
        "drawn": dict(zip(names, drawn, strict=True)),
    }


def _caught(
    rows: NDArray[np.int32], displayed: Displayed, owner: NDArray[np.int64], num_users: int, cutoffs: Sequence[int]
) -> Floats:
    """Weight of the clicks that each user's slate holds in its first k places, float64 [n, cutoffs]."""
    place = np.full(len(owner), rows.shape[1], np.int64)
    step = max(1, CHUNK_CELLS // rows.shape[1])
    for start in range(0, len(owner), step):
        part = slice(start, start + step)
        wanted = displayed.rows[part][:, None]
        found = (rows[displayed.owner[part]] == wanted) & (wanted >= 0)
        place[part] = np.where(found.any(axis=1), found.argmax(axis=1), rows.shape[1])
    held = [np.bincount(owner, displayed.weights * (place < k), minlength=num_users) for k in cutoffs]
    return np.stack(held, axis=1)


def _estimates(
    total: Floats, caught: Mapping[str, Floats], resamples: Resamples
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, list[dict[str, Any]]]]:
    """Of every source and of the chain minus every other: an Estimate a cutoff, as plain dictionaries."""
    means = resamples.means(np.concatenate([total[:, None], *caught.values()], axis=1))
    resampled = np.split(means[:, 1:] / means[:, :1], len(caught), axis=1)
    shares = {
        source: (held.sum(axis=0) / total.sum(), drawn)
        for (source, held), drawn in zip(caught.items(), resampled, strict=True)
    }
    ours = shares["chain"]
    gaps = {s: (ours[0] - value, ours[1] - drawn) for s, (value, drawn) in shares.items() if s != "chain"}

    def plain(table: Mapping[str, tuple[Floats, Floats]]) -> dict[str, list[dict[str, Any]]]:
        return {
            source: [msgspec.to_builtins(interval(value[k], drawn[:, k])) for k in range(len(value))]
            for source, (value, drawn) in table.items()
        }

    return plain(shares), plain(gaps)


def _drawn(
    displayed: Displayed,
    user_rows: NDArray[np.int64],
    state: State | None,
    eligible: NDArray[np.bool_],
    cutoffs: Sequence[int],
) -> list[float]:
    """Expected recall of a slate of k distinct items drawn from those that may be shown to the user."""
    numbers, owner = np.unique(displayed.owner, return_inverse=True)
    allowed = np.full(len(numbers), int(eligible.sum()))
    if state is not None:
        position, seen = state.seen_pairs(user_rows[numbers])
        allowed -= np.bincount(position[eligible[seen]], minlength=len(numbers))
    can_be_shown = (displayed.rows >= 0) & eligible[displayed.rows]
    weights = displayed.weights * can_be_shown / displayed.weights.sum()
    return [float(weights @ np.minimum(1.0, k / np.maximum(allowed, 1))[owner]) for k in cutoffs]
