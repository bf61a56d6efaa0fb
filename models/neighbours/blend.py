"""How the two kinds of item-item weights become one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    from scipy import sparse

__all__ = ["Blend"]


class Blend(msgspec.Struct, frozen=True):
    """How the two kinds become one; each is divided by the spread of its scores first.

    Attributes:
        walk_share: of the walks, the rest is the regression's.
        regression_scale, walk_scale: standard deviations of their scores over users and items.
    """

    walk_share: float
    regression_scale: float
    walk_scale: float

    def matrix(self, regression: sparse.csr_matrix, walks: sparse.csr_matrix) -> sparse.csr_matrix:
        """The blended weights, float32 [N, N]; row i holds what the others contribute to item i."""
        blended = regression * np.float32((1.0 - self.walk_share) / self.regression_scale)
        blended = (blended + walks * np.float32(self.walk_share / self.walk_scale)).tocsr()
        blended.eliminate_zeros()
        return blended
