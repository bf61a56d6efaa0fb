"""Logistic regression on one-hot ids and categories and on the numbers as they are, from scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.classifiers.base import Classifier, Table
from workflows.features.schema import PADDING

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["Logistic", "one_hot"]


class Logistic(Classifier):
    """A weight for every id, category and number, with an L2 penalty.

    Attributes:
        inverse_penalty: scikit-learn's C.
    """

    name = "logistic"

    def __init__(self, inverse_penalty: float = 0.1) -> None:
        self.inverse_penalty = inverse_penalty

    def fit(self, train: Table, valid: Table) -> None:
        """Minimise the penalised log loss of `train` by a trust-region Newton method.

        Raises:
            ImportError: scikit-learn is not installed.
        """
        from sklearn.linear_model import LogisticRegression

        # "liblinear" also penalises the intercept; scaled up, it hardly does.
        self._model = LogisticRegression(C=self.inverse_penalty, solver="liblinear", intercept_scaling=10.0)
        self._model.fit(one_hot(train), train.labels > 0.5)

    def refit(self, both: Table) -> None:
        """As in `Classifier`: with the same penalty."""
        self.fit(both, both)

    def probabilities(self, table: Table) -> NDArray[np.float64]:
        """As in `Classifier`."""
        found: NDArray[np.float64] = self._model.predict_proba(one_hot(table))[:, 1]
        return found


def one_hot(table: Table) -> csr_matrix:
    """One column a code of every categorical feature and one a number; float64 [R, sum of cardinalities + numbers].

    A list counts each of its codes and not its padding.
    """
    from scipy.sparse import csr_matrix, hstack

    blocks = []
    for feature in table.features:
        values = table.columns[feature.name]
        if feature.kind == "continuous":
            blocks.append(csr_matrix(values.astype(np.float64)))
            continue
        row, place = np.nonzero(values != PADDING)
        cells = (np.ones(len(row)), (row, values[row, place]))
        blocks.append(csr_matrix(cells, shape=(len(values), feature.cardinality)))
    return hstack(blocks, format="csr")
