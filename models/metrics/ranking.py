"""Metrics of ranked slates against held-out positives: one value a user, so that users can be resampled.

Conventions. A slate is a row of item rows, best first, padded right with -1. `k` is a cutoff, r the number of distinct
relevant items of the user, rel(j) is 1 where position j (1-based) holds a relevant item that has not appeared before.

    recall@k        = sum_{j<=k} rel(j) / r                    hits / relevant: at most k / r where r > k
    capped_recall@k = sum_{j<=k} rel(j) / min(k, r)            a perfect slate reaches 1 at every k
    hit_rate@k      = 1 if any rel(j), j <= k, else 0
    mrr@k           = 1 / (position of the first hit) if that is <= k, else 0
    ndcg@k          = DCG@k / IDCG@k, DCG@k = sum_{j<=k} rel(j) / log2(j + 1), IDCG@k the DCG of min(k, r) leading hits
    novelty@k       = mean over the slate's first k items of -log2 (n_i + 1) / (sum_j n_j + N)
    coverage@k      = distinct items in the first k positions of all slates / eligible items

References: Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 20(4), 2002 (DCG, here
with binary gains and the log2(j + 1) discount); Voorhees, "The TREC-8 question answering track report", 1999
(reciprocal rank); Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems", PNAS 107(10),
2010 (surprisal, the novelty here, with one added to every count so that an item nobody had stays finite); Ge et al.,
"Beyond accuracy", RecSys 2010 (coverage).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["coverage", "discounts", "hits", "novelty", "per_user"]

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]


def discounts(length: int) -> Floats:
    """1 / log2(position + 1) for positions 1..length; float64 [length]."""
    return 1.0 / np.log2(np.arange(2, length + 2, dtype=np.float64))


def hits(slates: Ints, indptr: Ints, rows: Ints) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Which positions hold a relevant item, and how many relevant items each user has.

    Args:
        slates: [U, K] item rows, best first; -1 is "no item".
        indptr: [U + 1] offsets into `rows`.
        rows: item rows relevant to user u at `rows[indptr[u]:indptr[u + 1]]`; a repeated one counts once, -1 never.

    Returns:
        Hits [U, K], the second and later appearance of an item in a slate being no hit, and counts int64 [U].

    Raises:
        ValueError: the number of users differs between the two.
    """
    num_users = len(slates)
    if len(indptr) != num_users + 1:
        raise ValueError(f"indptr has {len(indptr)} entries, expected {num_users + 1}: one more than slates has users")
    span = int(max(slates.max(initial=0), rows.max(initial=0))) + 1
    owners = np.repeat(np.arange(num_users, dtype=np.int64), np.diff(indptr))
    wanted = np.unique((owners * span + rows)[np.asarray(rows) >= 0])
    counts = np.bincount(wanted // span, minlength=num_users)
    keys = np.arange(num_users, dtype=np.int64)[:, None] * span + slates
    found = np.isin(keys, wanted) & (slates >= 0)
    return found & ~_repeated(slates), counts


def per_user(
    slates: Ints, indptr: Ints, rows: Ints, cutoffs: Sequence[int], unreachable: Ints | None = None
) -> dict[str, Floats]:
    """Accuracy of every user's slate at every cutoff.

    Args:
        slates: [U, K] item rows, as in `hits`.
        indptr: [U + 1], as in `hits`.
        rows: relevant item rows, as in `hits`.
        cutoffs: every k; one above K sees the slate as padded with misses.
        unreachable: [U], further relevant items that no slate can hold; they count in r.

    Returns:
        "recall@k", "capped_recall@k", "ndcg@k", "mrr@k" and "hit_rate@k" for every k: float64 [U] each.

    Raises:
        ValueError: a user has no relevant item, so that recall is not defined; leave such users out.
    """
    found, counts = hits(slates, indptr, rows)
    if unreachable is not None:
        counts = counts + unreachable
    if (counts == 0).any():
        raise ValueError(f"user {int(np.argmin(counts))} has no relevant item; leave such users out before measuring")
    table: dict[str, Floats] = {}
    for k in cutoffs:
        table |= {f"{name}@{k}": values for name, values in _at(found[:, :k], counts, k).items()}
    return table


def novelty(slates: Ints, counts: npt.NDArray[np.floating], cutoffs: Sequence[int]) -> dict[str, Floats]:
    """Mean surprisal in bits of every user's slate: "novelty@k" float64 [U], NaN where the slate is empty.

    Args:
        slates: [U, K] item rows, -1 is "no item".
        counts: [N] positive events of each item in train and valid.
        cutoffs: every k.
    """
    surprisal = -np.log2((counts.astype(np.float64) + 1.0) / (counts.sum(dtype=np.float64) + len(counts)))
    shown = slates >= 0
    bits = np.where(shown, surprisal[np.maximum(slates, 0)], 0.0)
    table = {}
    for k in cutoffs:
        num_shown = shown[:, :k].sum(axis=1)
        total = bits[:, :k].sum(axis=1)
        table[f"novelty@{k}"] = np.divide(total, num_shown, out=np.full(len(slates), np.nan), where=num_shown > 0)
    return table


def coverage(slates: Ints, num_eligible: int, cutoffs: Sequence[int]) -> dict[str, float]:
    """Share of the eligible catalogue that appears in anybody's slate: "coverage@k".

    Args:
        slates: [U, K] item rows, -1 is "no item".
        num_eligible: items that may be shown at all.
        cutoffs: every k.
    """
    table = {}
    for k in cutoffs:
        distinct = np.unique(slates[:, :k])
        table[f"coverage@{k}"] = float((distinct >= 0).sum()) / max(num_eligible, 1)
    return table


def _at(found: npt.NDArray[np.bool_], counts: npt.NDArray[np.int64], k: int) -> dict[str, Floats]:
    num_hits = found.sum(axis=1)
    ideal = np.cumsum(discounts(k))[np.minimum(counts, k) - 1]
    first = found.argmax(axis=1) + 1 if found.shape[1] else np.ones(len(counts), np.int64)
    any_hit = (num_hits > 0).astype(np.float64)
    return {
        "recall": num_hits / counts,
        "capped_recall": num_hits / np.minimum(counts, k),
        "ndcg": found @ discounts(found.shape[1]) / ideal,
        "mrr": any_hit / first,
        "hit_rate": any_hit,
    }


def _repeated(slates: Ints) -> npt.NDArray[np.bool_]:
    """True where an item has already appeared further left in its slate; bool [U, K]."""
    order = np.argsort(slates, axis=1, kind="stable")
    ordered = np.take_along_axis(slates, order, axis=1)
    same = np.zeros(slates.shape, dtype=bool)
    same[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    repeated = np.empty_like(same)
    np.put_along_axis(repeated, order, same, axis=1)
    return repeated
