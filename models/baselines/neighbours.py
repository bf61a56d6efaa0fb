"""Sparse item-item matrices, a block of rows at a time: leave the items themselves out, keep the largest of a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["CHUNK_ITEMS", "leading"]

CHUNK_ITEMS = 1_000


def leading(block: csr_matrix, k: int, first_row: int) -> csr_matrix:
    """Only the k largest positive values of every row off the diagonal, ties by column.

    Args:
        block: rows first_row, first_row + 1, ... of a square matrix.
        k: kept per row.
        first_row: of the square matrix.
    """
    from scipy.sparse import csr_matrix

    from models.baselines.selection import best_stored

    kept, offsets = best_stored(block.indptr, block.indices, block.data, k, first_row)
    return csr_matrix((block.data[kept], block.indices[kept], offsets), shape=block.shape)
