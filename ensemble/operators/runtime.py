"""The Merlin runtime of the graph: local execution, and export as a Triton repository in one of two layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from merlin.dag import Graph
from merlin.dag.runtime import Runtime
from merlin.systems.dag.ensemble import Ensemble
from merlin.table import TensorTable

from ensemble.config import OnnxSteps
from ensemble.export.layouts import Names, write_layout
from ensemble.merlin.executor import MemoExecutor
from ensemble.operators.operator import ChainOperator
from ensemble.operators.plan import compile_plan
from runtime.errors import PlanError
from runtime.spec import ChainSpec

__all__ = ["RepositoryRuntime"]


class RepositoryRuntime(Runtime):
    """Runs the graph here, or writes it for Triton.

    Args:
        layout: "fused": one Python-backend model runs every operator; "ensemble": each operator is a model.
        onnx_steps: "onnxruntime" and "tensorrt" put steps that are an ONNX graph on Triton's own backend, in the
            ensemble layout.
    """

    def __init__(self, layout: Literal["fused", "ensemble"] = "fused", onnx_steps: OnnxSteps = "python") -> None:
        super().__init__()
        self.layout = layout
        self.names = Names(onnx_steps=onnx_steps)

    def transform(self, graph: Graph, transformable: TensorTable) -> TensorTable:
        """Answer one request, as `ensemble.graph.request_table` fills it up."""
        return MemoExecutor().transform(transformable, [graph.output_node])

    def export(self, ensemble: Ensemble, path: str | Path) -> None:
        """Write the model repository.

        Args:
            ensemble: the graph, over a compiled chain.
            path: an empty or absent folder.

        Raises:
            PlanError: the operators of the graph do not fit together.
        """
        last = ensemble.graph.output_node.op
        if not isinstance(last, ChainOperator):
            raise PlanError(f"the graph ends with '{last.label}', which is no operator of a chain")
        write_layout(
            last.chain, compile_plan(ensemble, ChainSpec.load(last.chain)), Path(path), self.layout, self.names
        )
