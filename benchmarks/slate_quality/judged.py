"""Slates of the simulated shop judged: what they earn by the truth, how alike their items are, and how calibrated."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ensemble.evaluation.queries import Queries
from ensemble.evaluation.setting import Setting
from ensemble.evaluation.truth import TRUTH_FILE, true_probability
from ensemble.export.slate_files import codes_of
from ensemble.export.strength import cosine_of_pairs, same_of_pairs
from models.dataset.features import load_state
from runtime.calibration import divergence
from workflows.core.run import Run
from workflows.shop.truth import Truth

__all__ = ["Judge", "Judged"]

Floats = NDArray[np.float64]
BLOCK = 128


class Judged(NamedTuple):
    """What is found of the slates of some users.

    Attributes:
        worth: float64 [Q], the true probability of a click on each item, discounted by place as in NDCG.
        planted, raw, centred: mean cosine of two items of a slate: of the vectors by which the shop decides what is
            clicked, of those of the item tower, and of the same less their mean over the catalogue.
        same: share of the pairs of items of a slate with the same category.
        divergence: KL(p | q) of the categories of a user's history and slate; mean over users with a history.
    """

    worth: Floats
    planted: float
    raw: float
    centred: float
    same: float
    divergence: float


class Judge:
    """The truth at some queries.

    Args:
        run: of the simulated shop.
        setting: raw ids.
        queries: Q of them, with device and hour.
        column: of the items, whose values are compared.
    """

    def __init__(self, run: Run, setting: Setting, queries: Queries, column: str) -> None:
        data = run.folder("data")
        truth = Truth.load(data / TRUTH_FILE)
        self._probability = true_probability(data, queries, setting.user_ids, setting.item_ids, "click")
        self._planted = truth.item_vectors[truth.item_rows(setting.item_ids)]
        self._vectors = np.load(run.folder("retrieval") / "item_embeddings.npy", allow_pickle=False)
        self._codes = codes_of(data / "items.parquet", column, "column")
        self._history = np.asarray(load_state(run, "eval").history)[queries.user_rows]

    def judged(self, slates: NDArray[np.int32]) -> Judged:
        """What is found of slates of item rows [Q, S]; -1: none."""
        worth = np.zeros(len(slates))
        discounts = 1 / np.log2(np.arange(slates.shape[1]) + 2)
        for start in range(0, len(slates), BLOCK):
            part = np.arange(start, min(start + BLOCK, len(slates)))
            chances = np.take_along_axis(self._probability(part), np.maximum(slates[part], 0), 1)
            worth[part] = (chances * (slates[part] >= 0)) @ discounts
        return Judged(
            worth,
            cosine_of_pairs(self._planted, slates),
            cosine_of_pairs(self._vectors, slates),
            cosine_of_pairs(self._vectors - self._vectors.mean(axis=0), slates),
            same_of_pairs(self._codes, slates),
            float(np.nanmean([divergence(*self._values(*each)) for each in zip(self._history, slates, strict=True)])),
        )

    def _values(self, *rows: NDArray) -> list[NDArray]:
        """Codes of the items of a history and of a slate."""
        return [self._codes[some[some >= 0]] for some in rows]
