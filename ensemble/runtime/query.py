"""Step 2: model inputs of the query side -> query embedding."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from numpy.typing import NDArray

from ensemble.runtime.onnx import OnnxGraph
from ensemble.runtime.spec import ChainSpec, Tensor, encoded
from ensemble.runtime.step import Arrays, Step

__all__ = ["QueryTower"]


class QueryTower(Step):
    """The query tower as ONNX."""

    name = "query"

    def __init__(self, folder: Path, spec: ChainSpec) -> None:
        super().__init__(folder, spec)
        self._graph = OnnxGraph(folder / "query_tower.onnx")

    @classmethod
    def inputs(cls, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The query features that the tower was trained on."""
        return spec.features(spec.tower_inputs)

    @classmethod
    def outputs(cls, spec: ChainSpec) -> tuple[Tensor, ...]:
        """`query`, L2-normalised."""
        return (Tensor("query", "FP32", spec.embedding_dim),)

    @classmethod
    def files(cls, spec: ChainSpec) -> tuple[str, ...]:
        """The graph."""
        return ("query_tower.onnx",)

    def __call__(self, batch: Mapping[str, NDArray]) -> Arrays:
        """[B, ...] query features -> query float32 [B, D]."""
        return self._graph.run_rows({name: batch[encoded(name)] for name in self.spec.tower_inputs})
