"""TensorFlow models in the graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf
from merlin.dag import ColumnSelector
from merlin.systems.dag.ops.tensorflow import PredictTensorflow
from merlin.systems.triton.conversions import match_representations
from merlin.table import TensorTable

from ensemble.merlin.stored import copy

__all__ = ["TensorflowInProcess"]


class TensorflowInProcess(PredictTensorflow):
    """`PredictTensorflow` in the server's Python process, which loads its model where it is served.

    Merlin's own operator leaves its model to Triton's TensorFlow backend; unpickled elsewhere it has none. It is fed as
    that backend would be.

    Args:
        folder: holds the SavedModel.
        name: of the SavedModel's folder.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = str(folder), name
        super().__init__(str(folder / name))

    def load_artifacts(self, artifact_path: Any = None) -> None:
        """Load the model of the exported folder."""
        self.model = tf.saved_model.load(str(Path(artifact_path or self.folder) / self.name))

    def save_artifacts(self, artifact_path: str) -> None:
        """Put the model into the exported folder."""
        copy(Path(self.folder) / self.name, Path(artifact_path) / self.name)

    def transform(self, col_selector: ColumnSelector, transformable: TensorTable) -> TensorTable:
        """Run the model's serving signature."""
        arrays = match_representations(self.input_schema, transformable.to_dict())
        outputs = self.model.signatures["serving_default"](**{n: tf.constant(v) for n, v in arrays.items()})
        return TensorTable({name: value.numpy() for name, value in outputs.items()})

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "model"}
