"""Fitted NVTabular workflows in the graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from merlin.dag import BaseOperator, ColumnSelector, DataFormats
from merlin.schema import ColumnSchema, Schema
from merlin.systems.dag.ops.workflow import TransformWorkflow
from merlin.table import TensorTable

from ensemble.merlin.stored import copy
from workflows.features.graphs import load_workflow

__all__ = ["WORKFLOWS", "DenseLists", "SavedWorkflow"]

WORKFLOWS = "workflows"


class SavedWorkflow(TransformWorkflow):
    """`TransformWorkflow` over a saved workflow that goes with the export; a pickled one keeps the run's paths.

    Args:
        folder: holds workflows/SIDE.
        side: "user", "item", "context" or "history".
    """

    def __init__(self, folder: Path, side: str) -> None:
        self.folder, self.side = str(folder), side
        super().__init__(load_workflow(folder / WORKFLOWS / side))

    def load_artifacts(self, artifact_path: Any = None) -> None:
        """Load the workflow of the exported folder."""
        if artifact_path:
            self.workflow = load_workflow(Path(artifact_path) / WORKFLOWS / self.side)

    def save_artifacts(self, artifact_path: str) -> None:
        """Put the workflow into the exported folder."""
        place = f"{WORKFLOWS}/{self.side}"
        copy(Path(self.folder) / place, Path(artifact_path) / place)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "workflow": None}


class DenseLists(BaseOperator):
    """Lists of fixed length: values and offsets -> [B, L]; scalars [B] -> [B, 1].

    Args:
        lengths: column -> L, 0 for a scalar.
    """

    def __init__(self, lengths: Mapping[str, int]) -> None:
        super().__init__()
        self.lengths = dict(lengths)

    def transform(self, col_selector: ColumnSelector, transformable: TensorTable) -> TensorTable:
        """Reshape every column."""
        return TensorTable({n: c.values.reshape(-1, max(self.lengths[n], 1)) for n, c in transformable.items()})

    def compute_output_schema(
        self, input_schema: Schema, col_selector: ColumnSelector, prev_output_schema: Schema | None = None
    ) -> Schema:
        """The same columns, dense."""
        return Schema(
            [
                ColumnSchema(name, dtype=input_schema[name].dtype, dims=(None, max(self.lengths[name], 1)))
                for name in input_schema.column_names
            ]
        )

    @property
    def supported_formats(self) -> DataFormats:
        """Tables of NumPy arrays."""
        return DataFormats.NUMPY_TENSOR_TABLE
