"""Step 2: model inputs of the query side -> query embedding, and the query part of the ranker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from numpy.typing import NDArray

from runtime.onnx import OnnxGraph
from runtime.spec import ChainSpec, Tensor, encoded
from runtime.step import Arrays, Step

__all__ = ["QUERY_FILE", "RANKER_FIELDS", "RANKER_HIDDEN", "QueryTower", "ranker_parts"]

QUERY_FILE = "query.onnx"
RANKER_FIELDS, RANKER_HIDDEN = "ranker_fields", "ranker_hidden"


class QueryTower(Step):
    """The query tower and the query part of a factored ranker, in one ONNX graph: they read the same inputs."""

    name = "query"
    graph_file = QUERY_FILE

    def open(self, folder: Path, spec: ChainSpec) -> None:
        """Open `files`."""
        self._spec = spec
        self._graph = OnnxGraph(folder / QUERY_FILE)
        self._inputs = [(name, encoded(name)) for name in self._graph.inputs]

    def inputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The query features that the tower, or the factored ranker, was trained on."""
        ranker = spec.ranker.query_inputs if spec.ranker.factored else ()
        return spec.features([*spec.tower_inputs, *ranker])

    def outputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """`query`, L2-normalised; the query part of a factored ranker."""
        return (Tensor("query", "FP32", spec.embedding_dim), *ranker_parts(spec))

    def files(self, spec: ChainSpec) -> tuple[str, ...]:
        """The graph."""
        return (QUERY_FILE,)

    def __call__(self, batch: Mapping[str, NDArray]) -> Arrays:
        """[B, ...] query features -> query float32 [B, D] and the ranker's parts."""
        return self._graph.run_rows({name: batch[between] for name, between in self._inputs})


def ranker_parts(spec: ChainSpec) -> tuple[Tensor, ...]:
    """The query part of a factored ranker: its fields, flattened, and its share of the first top layer."""
    if not spec.ranker.factored:
        return ()
    width = spec.ranker.num_query_fields * spec.ranker.field_dim
    return (Tensor(RANKER_FIELDS, "FP32", width), Tensor(RANKER_HIDDEN, "FP32", spec.ranker.hidden))
