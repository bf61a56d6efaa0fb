"""Sparse item-item matrices, a block of rows at a time: leave the items themselves out, keep the largest of a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.baselines.base import CHUNK_CELLS, top_k

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["CHUNK_ITEMS", "leading", "without_diagonal"]

CHUNK_ITEMS = 1_000
DENSE_SHARE = 0.02  # above this share of stored cells, partitioning dense rows is faster than sorting stored values


def leading(matrix: csr_matrix, k: int) -> csr_matrix:
    """The matrix with only the k largest stored values of every row, ties by column; the values must be positive."""
    from scipy.sparse import csr_matrix

    num_rows, num_columns = matrix.shape
    if matrix.nnz > DENSE_SHARE * num_rows * num_columns:
        step = max(1, CHUNK_CELLS // num_columns)
        blocks = [top_k(matrix[start : start + step].toarray(), k) for start in range(0, num_rows, step)]
        columns, values = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        stored = values > 0
        row = np.nonzero(stored)[0]
        return csr_matrix((values[stored], (row, columns[stored])), shape=matrix.shape)
    row = np.repeat(np.arange(num_rows), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, row))
    # Rows are contiguous in `order` as in the matrix, so a position minus its row's start is its place in the row.
    kept = order[np.arange(len(order)) - matrix.indptr[row] < k]
    return csr_matrix((matrix.data[kept], (row[kept], matrix.indices[kept])), shape=matrix.shape)


def without_diagonal(block: csr_matrix, first_row: int) -> csr_matrix:
    """Rows first_row, first_row + 1, ... of a square matrix without their diagonal cells."""
    from scipy.sparse import csr_matrix

    cells = block.tocoo()
    keep = cells.row + first_row != cells.col
    return csr_matrix((cells.data[keep], (cells.row[keep], cells.col[keep])), shape=block.shape)
