"""Stock Merlin Systems at its best: nvtabular_cpp's lookups in place of pandas merges, NumPy for the numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from merlin.dag import ColumnSelector, Node, postorder_iter_nodes
from merlin.systems.dag.ops.workflow import TransformWorkflow
from merlin.table import TensorTable
from numpy.typing import NDArray
from nvtabular import Workflow

from ensemble.merlin.graph import stock_ensemble
from ensemble.merlin.parity import ask
from ensemble.merlin.workflow import WORKFLOWS
from runtime.encoders import Encoder, latest, split_text
from workflows.core.run import Run
from workflows.features.graphs import load_workflow
from workflows.features.operators import Codes, ListCodes
from workflows.features.schema import NULL, Side

__all__ = ["PatchedWorkflow", "patched_chain"]


class PatchedWorkflow(TransformWorkflow):
    """`TransformWorkflow` without pandas: Categorify columns are looked up by nvtabular_cpp.

    NVTabular has these lookups and a call that enables them for inference; Merlin Systems 23.8 has it commented out.
    Numbers, for which there is no such code, are computed as Cascade does.

    Args:
        workflow: fitted.
        encoder: the same workflow, compiled.
    """

    def __init__(self, workflow: Workflow, encoder: Encoder) -> None:
        super().__init__(workflow)
        nodes = postorder_iter_nodes(workflow.graph.output_node)
        self._nodes: dict[str, Node] = {n.input_schema.column_names[0]: n for n in nodes if isinstance(n.op, Codes)}
        self._lookups = {name: node.op.inference_initialize(node.selector, {}) for name, node in self._nodes.items()}
        numbers = [feature for feature in encoder.features if feature["name"] not in self._nodes]
        self._numbers = Encoder(encoder.name, numbers, {})

    def transform(self, col_selector: ColumnSelector, transformable: pd.DataFrame) -> TensorTable:
        """Frames in, tensors out: scalars [B], lists [B, L]."""
        codes = {name: self._codes(name, transformable[name].to_numpy()) for name in self._nodes}
        columns = {feature["column"]: transformable[feature["name"]] for feature in self._numbers.features}
        numbers = self._numbers.encode({column: values.to_numpy() for column, values in columns.items()})
        return TensorTable({**codes, **numbers})

    def _codes(self, name: str, values: NDArray) -> NDArray[np.int32]:
        op = self._nodes[name].op
        if not isinstance(op, ListCodes):
            return self._look_up(name, values)
        lists = [_elements(op, value) for value in values.tolist()]
        lengths = np.array([len(elements) for elements in lists], np.int64)
        dtype = object if op.elements == "object" else np.int64
        flat = np.array([element for elements in lists for element in elements], dtype)
        return latest(self._look_up(name, flat), lengths, op.length, from_end=op.from_end)

    def _look_up(self, name: str, values: NDArray) -> NDArray[np.int32]:
        nulls = pd.isna(values)
        codes = np.full(len(values), NULL, np.int32)
        if not nulls.all():
            there = values if not nulls.any() else values[~nulls]
            if self._nodes[name].op.elements == "int64":
                there = there.astype(np.int64)
            codes[~nulls] = self._lookups[name].transform(ColumnSelector([name]), {name: there})[name]
        return codes


def patched_chain(run: Run, folder: Path) -> Callable[[dict[str, NDArray]], Any]:
    """Stock's graph with patched workflows, each node once a request: input name -> [1, 1], to stock's outputs.

    Args:
        run: see `ensemble.merlin.graph.stock_ensemble`.
        folder: see there.
    """

    def patched(folder: Path, side: Side) -> PatchedWorkflow:
        workflow = load_workflow(folder / WORKFLOWS / side)
        return PatchedWorkflow(workflow, Encoder.load(run.folder("features") / "encoders", side))

    graph = stock_ensemble(run, folder, patched)
    for node in postorder_iter_nodes(graph.graph.output_node):
        node.op.load_artifacts("")
    return lambda request: ask(graph, request)


def _elements(op: ListCodes, value: Any) -> list[Any]:
    if value is None:
        return []
    return split_text(value, op.separator) if isinstance(value, str) and op.separator else list(value)
