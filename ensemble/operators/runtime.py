"""The Merlin runtime of the graph: local execution, and export as a Triton repository in one of two layouts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from merlin.dag import Graph, Node, postorder_iter_nodes
from merlin.dag.executors import LocalExecutor
from merlin.dag.runtime import Runtime
from merlin.systems.dag.ensemble import Ensemble
from merlin.table import TensorTable

from ensemble.export.layouts import Names, write_fused, write_step, write_tied
from ensemble.operators.base import ChainOperator
from ensemble.operators.steps import EncodeRequest, Order, QueryTower, Rank, Retrieve

__all__ = ["LAYOUT_TABLES", "MemoExecutor", "RepositoryRuntime"]

NodeWriter = Callable[[ChainOperator, Path, Names], None]


def inside(operator: ChainOperator, repository: Path, names: Names) -> None:
    """The operator is part of the one model; nothing of its own to write."""


def own_model(operator: ChainOperator, repository: Path, names: Names) -> None:
    """The operator is a Triton model."""
    write_step(operator.chain, repository, operator.step, names)


OPERATORS = (EncodeRequest, QueryTower, Retrieve, Rank, Order)
# How each operator is laid out in the repository.
LAYOUT_TABLES: dict[str, dict[type[ChainOperator], NodeWriter]] = {
    "fused": dict.fromkeys(OPERATORS, inside),
    "ensemble": dict.fromkeys(OPERATORS, own_model),
}


class MemoExecutor(LocalExecutor):
    """Merlin's executor with a memo: a node that several others read runs once. One object a transform."""

    def __init__(self) -> None:
        super().__init__()
        self._memo: dict[int, Any] = {}

    def _execute_node(self, node: Node, *args: Any, **kwargs: Any) -> Any:
        if id(node) not in self._memo:
            self._memo[id(node)] = super()._execute_node(node, *args, **kwargs)
        return self._memo[id(node)]


class RepositoryRuntime(Runtime):
    """Runs the graph here, or writes it for Triton.

    Args:
        layout: "fused": one Python-backend model runs every operator; "ensemble": each operator is a model.
        onnx_steps: "onnxruntime" puts the query tower on Triton's own ONNX backend, in the ensemble layout.
    """

    def __init__(
        self, layout: Literal["fused", "ensemble"] = "fused", onnx_steps: Literal["python", "onnxruntime"] = "python"
    ) -> None:
        super().__init__()
        self.layout = layout
        self.op_table = LAYOUT_TABLES[layout]
        self.names = Names(onnx_steps=frozenset([QueryTower.step] if onnx_steps == "onnxruntime" else []))

    def transform(self, graph: Graph, transformable: TensorTable) -> TensorTable:
        """Answer one request, as `ensemble.graph.request_table` fills it up."""
        return MemoExecutor().transform(transformable, [graph.output_node])

    def export(self, ensemble: Ensemble, path: str | Path) -> None:
        """Write the model repository.

        Args:
            ensemble: the graph.
            path: an empty or absent folder.

        Raises:
            ValueError: an operator of the graph has no place in this layout's table.
        """
        repository = Path(path)
        operators = [node.op for node in postorder_iter_nodes(ensemble.graph.output_node)]
        chain_operators = [op for op in dict.fromkeys(operators) if isinstance(op, ChainOperator)]
        for operator in chain_operators:
            if type(operator) not in self.op_table:
                raise ValueError(f"{operator.label} has no place in the layout {self.layout!r}: add it to its table")
            self.op_table[type(operator)](operator, repository, self.names)
        chain = chain_operators[-1].chain
        if self.layout == "fused":
            write_fused(chain, repository, self.names)
        else:
            write_tied(chain, repository, [operator.step for operator in chain_operators], self.names)
