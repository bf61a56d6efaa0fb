"""A step of the chain as a Merlin operator: schemas here, arrays and models in the compiled chain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from merlin.dag import BaseOperator, ColumnSelector, DataFormats
from merlin.schema import ColumnSchema, Schema
from merlin.table import TensorTable

from runtime.errors import PlanError
from runtime.spec import ChainSpec, Tensor
from runtime.step import Step, make_step, path_of

__all__ = ["ChainOperator", "schema_of"]

MERLIN_DTYPES = {
    "INT32": "int32",
    "INT64": "int64",
    "FP32": "float32",
    "FP64": "float64",
    "BOOL": "bool",
    "BYTES": "object",
}


class ChainOperator(BaseOperator):
    """The same code as in the server, under Merlin's graph.

    Args:
        step: what runs.
        chain: a compiled chain, whose chain.json holds the sizes. The operator keeps its path; what the step opens
            stays out of the pickled object.
        name: of the node in the plan; empty: the step's.
        files: files that the step opens besides those of the chain: their name in the chain -> where they are now.
    """

    def __init__(self, step: Step, chain: Path, name: str = "", files: Mapping[str, Path] | None = None) -> None:
        super().__init__()
        self.step, self.chain, self.name = step, Path(chain), name or getattr(step, "name", "")
        self.own_files = dict(files or {})
        self.spec = ChainSpec.load(self.chain)
        self._opened: Step | None = None

    @property
    def label(self) -> str:
        """What errors and drawings call it."""
        return self.name

    def load_artifacts(self, artifact_path: Any = None) -> None:
        """Leave the files closed; Merlin calls this with "" when it builds a graph, before they may be there."""

    def transform(self, col_selector: ColumnSelector, transformable: TensorTable) -> TensorTable:
        """Run the step on the columns that it reads, dense arrays [B, ...].

        Raises:
            BadRequest: from the first step, for a request that cannot be answered.
        """
        if self._opened is None:
            opened = make_step(path_of(self.step), self.step.settings)
            opened.open(self.chain, self.spec)
            self._opened = opened
        batch = {tensor.name: transformable[tensor.name].values for tensor in self.step.inputs(self.spec)}
        results = self._opened(batch)
        return TensorTable({tensor.name: results[tensor.name] for tensor in self.step.outputs(self.spec)})

    def compute_selector(
        self,
        input_schema: Schema,
        selector: ColumnSelector,
        parents_selector: ColumnSelector | None = None,
        dependencies_selector: ColumnSelector | None = None,
    ) -> ColumnSelector:
        """The columns that the step reads, whatever else its parents give."""
        return ColumnSelector(input_schema.column_names)

    def compute_input_schema(
        self, root_schema: Schema, parents_schema: Schema, deps_schema: Schema, selector: ColumnSelector
    ) -> Schema:
        """The columns that the step reads.

        Raises:
            PlanError: the operators before it do not give one of them.
        """
        given = parents_schema + deps_schema
        names = [tensor.name for tensor in self.step.inputs(self.spec)]
        missing = [name for name in names if name not in given.column_names]
        if missing:
            raise PlanError(f"the operator '{self.name}' needs {missing}, its parents give {given.column_names}")
        return Schema([given[name] for name in names])

    def compute_output_schema(
        self, input_schema: Schema, col_selector: ColumnSelector, prev_output_schema: Schema | None = None
    ) -> Schema:
        """The columns that the step adds."""
        return schema_of(self.step.outputs(self.spec))

    @property
    def supported_formats(self) -> DataFormats:
        """Tables of NumPy arrays."""
        return DataFormats.NUMPY_TENSOR_TABLE

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


def schema_of(tensors: tuple[Tensor, ...]) -> Schema:
    """The Merlin schema of dense arrays: (batch, length), the length open where requests differ.

    Raises:
        PlanError: an array of a type that Triton does not know.
    """
    if odd := [tensor for tensor in tensors if tensor.dtype not in MERLIN_DTYPES]:
        raise PlanError(
            f"'{odd[0].name}' has the type {odd[0].dtype!r}; a Tensor has one of {', '.join(MERLIN_DTYPES)}"
        )
    return Schema([ColumnSchema(t.name, dtype=MERLIN_DTYPES[t.dtype], dims=(None, _bounds(t.length))) for t in tensors])


def _bounds(length: int) -> int | tuple[int, None]:
    return (0, None) if length == -1 else length
