"""What every baseline is: fitted on a user-item matrix, it gives slates of item rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["NO_ITEM", "Baseline", "top_k"]

NO_ITEM = -1
CHUNK_CELLS = 8_000_000  # scores held at a time: 32 MB of float32


class Baseline(ABC):
    """A recommender fitted on `interactions`, a sparse matrix [U, N].

    Row u of the matrix is the user of user_row u, column i the item of item_row i; a stored value is 1.0 where the user
    had a positive event with the item in train or valid. Row b of a slate matrix belongs to the b-th queried user.
    """

    name: str

    @abstractmethod
    def fit(self, interactions: csr_matrix, popularity: npt.NDArray[np.float32]) -> None:
        """Learn from the matrix.

        Args:
            interactions: [U, N], values 1.0.
            popularity: [N] counts of positive events; breaks ties (more popular first, then by item row).
        """

    @abstractmethod
    def scores(self, user_rows: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """Scores of the whole catalogue for some users: [B] -> float32 [B, N], larger is better."""

    @property
    @abstractmethod
    def tie_rank(self) -> npt.NDArray[np.int64]:
        """The place of every item among items of equal score, a permutation of 0..N-1; int64 [N]."""

    def recommend(
        self,
        user_rows: npt.NDArray[np.integer],
        slate_size: int,
        *,
        eligible: npt.NDArray[np.bool_],
        seen: csr_matrix | None,
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Slates for some users, in batches of bounded memory.

        Args:
            user_rows: [B].
            slate_size: items a slate.
            eligible: [N], False is never shown.
            seen: [U, N], stored entries are not shown to that user; None shows them.

        Returns:
            Item rows int32 [B, slate_size] by descending score, ties by `tie_rank`, padded right with -1, and their
            scores float32, -inf at the padding.
        """
        step = max(1, CHUNK_CELLS // max(len(eligible), 1))
        rows = np.full((len(user_rows), slate_size), NO_ITEM, np.int32)
        values = np.full((len(user_rows), slate_size), -np.inf, np.float32)
        for start in range(0, len(user_rows), step):
            part = user_rows[start : start + step]
            scores = np.array(self.scores(part), dtype=np.float32)
            scores[:, ~eligible] = -np.inf
            if seen is not None:
                taken = seen[part]
                scores[np.repeat(np.arange(len(part)), np.diff(taken.indptr)), taken.indices] = -np.inf
            best = top_k(scores, slate_size, self.tie_rank)
            rows[start : start + step, : best[0].shape[1]], values[start : start + step, : best[1].shape[1]] = best
        return rows, values


def top_k(
    scores: npt.NDArray[np.float32], k: int, tie_rank: npt.NDArray[np.integer] | None = None
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """The k best columns of every row, exactly and deterministically.

    Args:
        scores: float32 [B, N]; -inf is "never", NaN is not allowed.
        k: how many; at most N are returned.
        tie_rank: [N], smaller goes first among equal scores, a permutation of 0..N-1; None: the column number.

    Returns:
        Columns int32 [B, min(k, N)] by descending score, -1 at "never", and their scores.
    """
    from models.baselines.selection import best_columns

    num_columns = scores.shape[1]
    k = min(k, num_columns)
    rank = np.arange(num_columns, dtype=np.int64) if tie_rank is None else tie_rank.astype(np.int64)
    columns = best_columns(scores, k, rank)
    values = np.take_along_axis(scores, columns, axis=1)
    return np.where(np.isneginf(values), np.int32(NO_ITEM), columns), values
