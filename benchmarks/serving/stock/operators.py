"""What stock Merlin Systems lacks where there is neither Feast nor a TensorFlow backend, and no more than that.

`LookUpUsers` and `LookUpItems` take the place of `QueryFeast`: raw features from frames in memory.
`TensorflowInProcess` is `PredictTensorflow` that loads its model again after it was pickled, and feeds it what Merlin's
Triton operator would. `DenseLists` gives lists of fixed length the form that `UnrollFeatures` can repeat.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from merlin.dag import BaseOperator, ColumnSelector, DataFormats
from merlin.schema import ColumnSchema, Schema
from merlin.systems.dag.ops.tensorflow import PredictTensorflow
from merlin.systems.triton.conversions import match_representations
from merlin.table import TensorTable

__all__ = ["BLOCKED", "DenseLists", "LookUpItems", "LookUpUsers", "TensorflowInProcess"]

BLOCKED = "blocked_rows"
RAGGED = ((0, None), (0, None))


class _Frames(BaseOperator):
    """Opens its files when it is loaded; frames in, frames out.

    Args:
        folder: holds the frames.
        outputs: schema of what it looks up.
    """

    def __init__(self, folder: Path, outputs: Schema) -> None:
        super().__init__()
        self.folder, self.outputs = str(folder), outputs
        self._opened: Any = None

    def compute_output_schema(
        self, input_schema: Schema, col_selector: ColumnSelector, prev_output_schema: Schema | None = None
    ) -> Schema:
        """What it looks up."""
        return self.outputs

    @property
    def supported_formats(self) -> DataFormats:
        """Frames, as the workflows behind it take them; so that no text has to become a tensor."""
        return DataFormats.PANDAS_DATAFRAME

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}


class LookUpUsers(_Frames):
    """user_id and the request's context -> the raw features, the recent items and the blocked item rows of the user.

    Args:
        folder: holds the frames.
        outputs: schema of what it looks up.
        names: context column of the request -> its name in the workflow.
    """

    def __init__(self, folder: Path, outputs: Schema, names: dict[str, str]) -> None:
        super().__init__(folder, outputs)
        self.names = names

    def load_artifacts(self, artifact_path: Any = None) -> None:
        """Read the frame, by user id, and what no user may be shown."""
        users = pd.read_parquet(Path(self.folder) / "users.parquet").set_index("user_id", drop=False)
        self._opened = users, np.load(Path(self.folder) / "not_eligible.npy")

    def transform(self, col_selector: ColumnSelector, transformable: pd.DataFrame) -> pd.DataFrame:
        """One row a user; the context's bytes become text."""
        users, not_eligible = self._opened
        found = users.loc[transformable["user_id"]].reset_index(drop=True)
        found[BLOCKED] = [np.concatenate([seen, not_eligible]) for seen in found[BLOCKED]]
        for name in transformable.columns:
            if name != "user_id":
                found[self.names[name]] = [
                    v.decode() or None if isinstance(v, bytes) else v for v in transformable[name]
                ]
        return found


class LookUpItems(_Frames):
    """Item rows -> the raw item features."""

    def load_artifacts(self, artifact_path: Any = None) -> None:
        """Read the frame, by item row."""
        self._opened = pd.read_parquet(Path(self.folder) / "items.parquet")

    def transform(self, col_selector: ColumnSelector, transformable: pd.DataFrame) -> pd.DataFrame:
        """One row an item row."""
        (name,) = transformable.columns
        frame: pd.DataFrame = self._opened.iloc[transformable[name].to_numpy()].reset_index(drop=True)
        return frame


class DenseLists(BaseOperator):
    """Lists of fixed length: values and offsets -> [B, L]; scalars [B] -> [B, 1].

    Args:
        lengths: column -> L, 0 for a scalar.
    """

    def __init__(self, lengths: dict[str, int]) -> None:
        super().__init__()
        self.lengths = lengths

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
        """Tensors."""
        return DataFormats.NUMPY_TENSOR_TABLE


class TensorflowInProcess(PredictTensorflow):
    """`PredictTensorflow` for a SavedModel folder, in this process.

    Args:
        folder: of the SavedModel; it must stay where it is.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder))

    def load_artifacts(self, artifact_path: Any = None) -> None:
        """Load the model, which a pickled operator has lost."""
        self.model = tf.saved_model.load(self.path)

    def transform(self, col_selector: ColumnSelector, transformable: TensorTable) -> TensorTable:
        """Run the model's serving signature."""
        arrays = match_representations(self.input_schema, transformable.to_dict())
        outputs = self.model.signatures["serving_default"](**{n: tf.constant(v) for n, v in arrays.items()})
        return TensorTable({name: value.numpy() for name, value in outputs.items()})

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "model"}
