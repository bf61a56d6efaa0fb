"""Step 4: candidates -> ranking scores, one logit a candidate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ensemble.runtime.ids import NO_ITEM
from ensemble.runtime.onnx import OnnxGraph
from ensemble.runtime.retrieve import quantise
from ensemble.runtime.spec import POPULARITY, ChainSpec, Tensor
from ensemble.runtime.step import Arrays, Step, load_array

__all__ = ["RANKING_STEP", "Rank"]

# Logits are rounded to this step: the same item scores the same beside any neighbours, and equal items tie exactly.
RANKING_STEP = 2.0**-16


class Scorer(Protocol):
    """Logits of one user's candidates."""

    def __call__(self, query: Mapping[str, NDArray], rows: NDArray, pair: NDArray) -> NDArray[np.float32]:
        """Query features [1, ...], item rows [C] (>= 0), pair features [C, P] -> logits float32 [C]."""


class Rank(Step):
    """The ranker: factored where the model allows it, the plain graph otherwise."""

    name = "rank"

    def __init__(self, folder: Path, spec: ChainSpec) -> None:
        super().__init__(folder, spec)
        self._score: Scorer = (FactoredScorer if spec.ranker["factored"] else PlainScorer)(folder, spec)

    @classmethod
    def inputs(cls, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The query features that the ranker was trained on, the candidates and the path."""
        return (
            *spec.features(spec.ranker["query_inputs"]),
            Tensor("candidates", "INT32", spec.num_candidates),
            Tensor("retrieval_score", "FP32", spec.num_candidates),
            Tensor("path_code", "INT32"),
        )

    @classmethod
    def outputs(cls, spec: ChainSpec) -> tuple[Tensor, ...]:
        """`ranking_score`: a logit, or the popularity on the popularity path; 0 for padding."""
        return (Tensor("ranking_score", "FP32", spec.num_candidates),)

    @classmethod
    def files(cls, spec: ChainSpec) -> tuple[str, ...]:
        """The ranker; the encoded items where the plain graph reads them."""
        return ("ranker",) if spec.ranker["factored"] else ("ranker", "items")

    def __call__(self, batch: Mapping[str, NDArray]) -> Arrays:
        """Score one user at a time, all C places at once, so that every matrix product has the same shape for everybody."""
        candidates, retrieval_score = batch["candidates"], batch["retrieval_score"]
        scores = retrieval_score.copy()
        for user in np.flatnonzero(batch["path_code"][:, 0] != POPULARITY):
            query = {name: batch[name][user : user + 1] for name in self.spec.ranker["query_inputs"]}
            rows = np.maximum(candidates[user], 0)
            pair = np.stack([retrieval_score[user]], axis=1)
            scores[user] = quantise(self._score(query, rows, pair), RANKING_STEP)
        scores[candidates == NO_ITEM] = 0
        return {"ranking_score": scores}


class FactoredScorer:
    """The factored DLRM of docs/ARTEFACTS.md."""

    def __init__(self, folder: Path, spec: ChainSpec) -> None:
        self._graph = OnnxGraph(folder / "ranker/ranker_query.onnx")
        self._fields = load_array(folder / "ranker/item_fields.npy")
        self._hidden = load_array(folder / "ranker/item_hidden.npy")
        with np.load(folder / "ranker/top.npz", allow_pickle=False) as top:
            self._top = {name: top[name] for name in top.files}

    def __call__(self, query: Mapping[str, NDArray], rows: NDArray, pair: NDArray) -> NDArray[np.float32]:
        """See Scorer."""
        user = self._graph.run(query)
        crossed = self._fields[rows] @ user["fields"][0].T  # (C, Fi, Fq)
        hidden = self._hidden[rows] + user["hidden"] + crossed.reshape(len(rows), -1) @ self._top["cross"]
        hidden += pair @ self._top["pair"]
        layer = 1
        while f"w{layer}" in self._top:
            hidden = np.maximum(hidden, 0) @ self._top[f"w{layer}"] + self._top[f"b{layer}"]
            layer += 1
        return hidden[:, 0]


class PlainScorer:
    """The whole ranker as ONNX, the user's features repeated for every candidate."""

    def __init__(self, folder: Path, spec: ChainSpec) -> None:
        self._graph = OnnxGraph(folder / "ranker/ranker.onnx")
        self._items = {name: load_array(folder / "items" / f"{name}.npy") for name in spec.ranker["item_inputs"]}

    def __call__(self, query: Mapping[str, NDArray], rows: NDArray, pair: NDArray) -> NDArray[np.float32]:
        """See Scorer."""
        feed = {name: np.repeat(values, len(rows), axis=0) for name, values in query.items()}
        for name, values in self._items.items():
            gathered = values[rows]
            feed[name] = gathered[:, None] if gathered.ndim == 1 else gathered
        feed["pair"] = pair
        return self._graph.run(feed)["logit"][:, 0]
