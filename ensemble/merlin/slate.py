"""In place of `SoftmaxSampling`: the order that the other layouts give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from merlin.dag import ColumnSelector
from merlin.schema import ColumnSchema, Schema
from merlin.table import TensorTable
from numpy.typing import NDArray

from ensemble.merlin.lookups import CHAIN, PATH_CODE
from ensemble.merlin.retrieval import CANDIDATES
from ensemble.merlin.stored import StoredOperator
from runtime.ids import NO_ITEM
from runtime.spec import PATHS, ChainSpec
from runtime.step import load_array

__all__ = ["PROBABILITY", "Slate", "slate_schema"]

PROBABILITY = "probability"


def slate_schema(spec: ChainSpec) -> Schema:
    """The response of every layout, at the slate's own size."""
    kinds = {"INT32": "int32", "INT64": "int64", "FP32": "float32", "BYTES": "str"}
    return Schema(
        [
            ColumnSchema(t.name, dtype=kinds[t.dtype], dims=(None, spec.slate_size if t.length == -1 else 1))
            for t in spec.response
        ]
    )


class Slate(StoredOperator):
    """Candidates and probabilities -> raw ids, descending probability, ties by row; padded with -1 or ""."""

    files = (CHAIN,)

    def open(self, folder: Path) -> tuple[ChainSpec, NDArray]:
        """The slate's size and the raw item ids."""
        return ChainSpec.load(folder / CHAIN), load_array(folder / CHAIN / "ids/items.npy")

    def transform(self, col_selector: ColumnSelector, transformable: TensorTable) -> TensorTable:
        """Order one user's candidates."""
        spec, ids = self._opened
        rows = transformable[CANDIDATES].values.reshape(-1)
        scores = transformable[PROBABILITY].values.reshape(-1)
        best = np.lexsort((rows, -scores))
        best = best[rows[best] != NO_ITEM][: spec.slate_size]
        is_text = ids.dtype.kind == "S"
        item_id = np.full((1, spec.slate_size), "" if is_text else -1, object if is_text else np.int64)
        item_id[0, : len(best)] = [value.decode() if is_text else value for value in ids[rows[best]].tolist()]
        score = np.zeros((1, spec.slate_size), np.float32)
        score[0, : len(best)] = scores[best]
        path = PATHS[int(transformable[PATH_CODE].values.reshape(-1)[0])]
        return TensorTable(
            {
                "item_id": item_id,
                "score": score,
                "num_items": np.array([[len(best)]], np.int32),
                "path": np.array([[path]], object),
            }
        )
