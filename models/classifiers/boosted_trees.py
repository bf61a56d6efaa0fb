"""Gradient boosted trees on ids and features, from LightGBM.

References: Ke et al., "LightGBM: a highly efficient gradient boosting decision tree", NeurIPS 2017; Micci-Barreca, "A
preprocessing scheme for high-cardinality categorical attributes", SIGKDD Explorations 3(1), 2001 (means of the label).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.classifiers.base import Classifier, Table
from workflows.features.schema import ITEM_ID, PADDING, USER_ID

__all__ = ["BoostedTrees", "fold_means", "label_means"]

IDS = (USER_ID, ITEM_ID)
NUM_FOLDS = 5
MAX_TREES = 1_000
PATIENCE = 30
MAX_LIST_CODES = 128


class BoostedTrees(Classifier):
    """Trees until the log loss of valid has not fallen for PATIENCE of them.

    Attributes:
        num_leaves: of a tree.
        learning_rate: share of a tree that counts.
        id_means: whether the mean label of every user and item, out of fold in training, goes beside their ids.
        smoothing: rows of the overall mean added to each of these means.
        seed: of the folds and of LightGBM.
    """

    name = "lightgbm"

    def __init__(
        self,
        num_leaves: int = 63,
        learning_rate: float = 0.1,
        id_means: bool = True,
        smoothing: float = 10.0,
        seed: int = 1,
    ) -> None:
        self.num_leaves, self.learning_rate, self.id_means = num_leaves, learning_rate, id_means
        self.smoothing, self.seed = smoothing, seed

    def fit(self, train: Table, valid: Table) -> None:
        """Grow trees on `train`, as many as `valid` asks for.

        Raises:
            ImportError: LightGBM is not installed.
        """
        import lightgbm

        rows = self._rows(train)
        kept = rows.create_valid(self._inputs(valid), valid.labels)
        stop = lightgbm.early_stopping(PATIENCE, verbose=False)
        self._model = lightgbm.train(self._settings, rows, MAX_TREES, valid_sets=[kept], callbacks=[stop])
        self._num_trees = max(self._model.best_iteration, 1)

    def refit(self, both: Table) -> None:
        """As in `Classifier`: as many trees as valid asked for."""
        import lightgbm

        self._model = lightgbm.train(self._settings, self._rows(both), self._num_trees)

    def _rows(self, train: Table) -> Any:
        import lightgbm

        self._means = {name: label_means(train, name, self.smoothing) for name in IDS} if self.id_means else {}
        held_out = [fold_means(train, name, self.smoothing, self.seed) for name in self._means]
        matrix, categorical = _matrix(train, held_out)
        return lightgbm.Dataset(matrix, train.labels, categorical_feature=categorical, free_raw_data=False)

    @property
    def _settings(self) -> dict[str, Any]:
        return {
            "objective": "binary",
            "num_leaves": self.num_leaves,
            "learning_rate": self.learning_rate,
            "seed": self.seed,
            "deterministic": True,
            "force_col_wise": True,
            "verbosity": -1,
        }

    def probabilities(self, table: Table) -> NDArray[np.float64]:
        """As in `Classifier`."""
        found: NDArray[np.float64] = np.asarray(self._model.predict(self._inputs(table)))
        return found

    def _inputs(self, table: Table) -> NDArray[np.float32]:
        return _matrix(table, [means[table.columns[name][:, 0]] for name, means in self._means.items()])[0]


def label_means(table: Table, name: str, smoothing: float) -> NDArray[np.float64]:
    """Mean label of every code of a feature, drawn to the overall mean by `smoothing` rows; float64 [cardinality]."""
    size = next(feature.cardinality for feature in table.features if feature.name == name)
    codes, overall = table.columns[name][:, 0], float(table.labels.mean())
    counts = np.bincount(codes, minlength=size)
    sums = np.bincount(codes, table.labels, minlength=size)
    means: NDArray[np.float64] = (sums + smoothing * overall) / (counts + smoothing)
    return means


def fold_means(table: Table, name: str, smoothing: float, seed: int) -> NDArray[np.float64]:
    """The same for every row, from the other folds' rows alone, so that no row sees its own label; float64 [R]."""
    fold = np.random.default_rng(seed).integers(0, NUM_FOLDS, len(table))
    means = np.empty(len(table))
    for number in range(NUM_FOLDS):
        inside = fold == number
        means[inside] = label_means(table.take(np.flatnonzero(~inside)), name, smoothing)[
            table.columns[name][inside, 0]
        ]
    return means


def _matrix(table: Table, means: list[NDArray[np.float64]]) -> tuple[NDArray[np.float32], list[int]]:
    """[R, columns], and which columns are categorical; a list is one column a code, 1 where it is in the list."""
    parts: list[NDArray[np.float32]] = []
    categorical: list[int] = []
    for feature in table.features:
        values = table.columns[feature.name]
        if feature.kind == "categorical" and feature.length:
            parts.append(_codes_held(values, feature.cardinality))
            continue
        if feature.kind == "categorical":
            categorical.append(sum(part.shape[1] for part in parts))
        parts.append(values.astype(np.float32))
    parts += [column.astype(np.float32)[:, None] for column in means]
    return np.concatenate(parts, axis=1), categorical


def _codes_held(values: NDArray, cardinality: int) -> NDArray[np.float32]:
    """Which of the first MAX_LIST_CODES codes (they go by frequency) a list holds; float32 [R, codes]."""
    held = np.zeros((len(values), min(cardinality, MAX_LIST_CODES)), np.float32)
    row, place = np.nonzero((values != PADDING) & (values < held.shape[1]))
    held[row, values[row, place]] = 1.0
    return held
