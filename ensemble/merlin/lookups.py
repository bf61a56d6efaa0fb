"""In place of `QueryFeast`: raw features, history and blocked items by id, from files beside the ensemble."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from merlin.dag import ColumnSelector, DataFormats
from merlin.schema import Schema
from merlin.table import TensorTable
from numpy.typing import NDArray

from ensemble.merlin.stored import StoredOperator
from runtime.encoders import NULL_INT
from runtime.errors import BadRequest
from runtime.ids import IdMap
from runtime.seen import SeenItems
from runtime.spec import CONTEXT, KNOWN_USER, ChainSpec
from runtime.step import load_array
from workflows.features.schema import HISTORY, USER_ID
from workflows.features.source import to_frame, to_series

__all__ = [
    "BLOCKED",
    "CHAIN",
    "ELIGIBLE",
    "EMBEDDINGS",
    "ITEMS",
    "PATH_CODE",
    "USERS",
    "USER_ROW",
    "LookUpItems",
    "LookUpUsers",
]

CHAIN, USERS, ITEMS = "chain", "users.parquet", "items.parquet"
ELIGIBLE, EMBEDDINGS = "eligible.npy", "item_embeddings.npy"
BLOCKED, USER_ROW, PATH_CODE = "blocked_rows", "user_row", "path_code"
NOTHING_FOUND = -1  # what FAISS fills up with


class Users:
    """What `LookUpUsers` has opened.

    Args:
        folder: see StoredOperator.
    """

    def __init__(self, folder: Path) -> None:
        chain = folder / CHAIN
        self.spec = ChainSpec.load(chain)
        self.ids = IdMap(load_array(chain / "ids/users.npy"), padded=False)
        self._table = pq.read_table(folder / USERS)
        self._item_ids = load_array(chain / "ids/items.npy")
        self._history = load_array(chain / "state/history.npy")
        self._seen = SeenItems(chain)
        self._not_eligible = np.flatnonzero(~load_array(folder / ELIGIBLE)).astype(np.int32)

    def raw(self, row: int, given: Any) -> pd.DataFrame:
        """The raw features of a user, one row; nulls but for the id where the row is -1."""
        if row >= 0:
            return to_frame(self._table.slice(row, 1), "cpu")
        nulls = pa.table({field.name: pa.nulls(1, field.type) for field in self._table.schema})
        kind = self._table.schema.field(USER_ID).type
        frame: pd.DataFrame = to_frame(nulls, "cpu").assign(**{USER_ID: to_series(pa.array([given], kind))})
        return frame

    def history(self, row: int) -> list[Any]:
        """Raw ids of the stored history, oldest first."""
        rows = self._history[row] if row >= 0 else self._history[:0].reshape(-1)
        ids = self._item_ids[rows[rows >= 0]].tolist()
        return [value.decode() if isinstance(value, bytes) else value for value in ids]

    def blocked(self, row: int) -> NDArray[np.int32]:
        """Item rows that the user must not be shown, and -1, which FAISS gives where it finds nothing."""
        seen = self._seen.of(row) if self.spec.filter_seen else self._seen.of(-1)
        return np.concatenate([seen, self._not_eligible, [NOTHING_FOUND]]).astype(np.int32)


class LookUpUsers(StoredOperator):
    """user_id and context of a request -> raw features, history, context and blocked item rows; one row.

    Args:
        folder: see StoredOperator.
        outputs: schema of what it gives.
        context: column of the request -> its name in the workflow.
    """

    files = (CHAIN, USERS, ELIGIBLE)

    def __init__(self, folder: Path, outputs: Schema, context: Mapping[str, str]) -> None:
        super().__init__(folder, outputs)
        self.context = dict(context)

    def open(self, folder: Path) -> Users:
        """The users, by row."""
        return Users(folder)

    def transform(self, col_selector: ColumnSelector, transformable: TensorTable) -> pd.DataFrame:
        """Look one user up.

        Raises:
            BadRequest: several users, an id that is no text, or a user of whom nothing is known.
        """
        users: Users = self._opened
        values = transformable["user_id"].values
        if values.size != 1:
            raise BadRequest(f"the layout 'merlin' answers one user a request, got {values.size}; ask one by one")
        row = max(int(users.ids.rows("user_id", values.reshape(-1))[0]), -1)
        known = {name: _value(name, transformable[name].values) for name in self.context}
        if row < 0 and all(value is None for value in known.values()):
            raise BadRequest(
                "the layout 'merlin' has nothing for an unknown user without context; give a known user_id or context"
            )
        found = users.raw(row, _value("user_id", values))
        for name, value in known.items():
            found[self.context[name]] = self._typed(self.context[name], value)
        found[HISTORY] = pd.Series([users.history(row) or None], dtype=object)
        found[BLOCKED] = [users.blocked(row)]
        found[USER_ROW], found[PATH_CODE] = np.int32(row), np.int32(KNOWN_USER if row >= 0 else CONTEXT)
        return found

    def _typed(self, name: str, value: Any) -> pd.Series:
        """A value in the type that the workflow reads, one row."""
        kind = self.outputs[name].dtype.name
        if kind == "float64":
            return to_series(pa.array([None if value is None else float(value)], pa.float64()))
        return to_series(pa.array([value], pa.int64() if kind == "int64" else pa.string()))


class LookUpItems(StoredOperator):
    """Item rows -> the raw item features, one row an item; those of row 0 where there is none (-1)."""

    files = (ITEMS,)

    def open(self, folder: Path) -> pa.Table:
        """The items, by row."""
        return pq.read_table(folder / ITEMS)

    def transform(self, col_selector: ColumnSelector, transformable: TensorTable) -> pd.DataFrame:
        """Look the items up."""
        (name,) = transformable
        rows = np.maximum(np.asarray(transformable[name].values, np.int64).reshape(-1), 0)
        frame: pd.DataFrame = to_frame(self._opened.take(pa.array(rows)), "cpu")
        return frame

    @property
    def supported_formats(self) -> DataFormats:
        """Tables of NumPy arrays."""
        return DataFormats.NUMPY_TENSOR_TABLE


def _value(name: str, values: NDArray) -> Any:
    """The one value of a column of a request; None for what means null there.

    Raises:
        BadRequest: no UTF-8, or several values.
    """
    if values.size != 1:
        raise BadRequest(f"{name} must hold one value, got {values.size}")
    value = values.reshape(-1)[0]
    if isinstance(value, bytes | str):
        try:
            return (value.decode() if isinstance(value, bytes) else value) or None
        except UnicodeDecodeError:
            raise BadRequest(f"{name} must be UTF-8 text, got {value!r:.80}") from None
    number = value.item()
    if isinstance(number, float):
        return number if math.isfinite(number) else None
    return None if number == NULL_INT else number
