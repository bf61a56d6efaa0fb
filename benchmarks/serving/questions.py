"""The requests that every variant gets: random known users, each with the context of a random event."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ensemble.request_columns import request_column
from runtime.spec import ChainSpec
from workflows.core.run import Run

__all__ = ["Questions", "draw_questions"]


class Questions(msgspec.Struct, frozen=True):
    """Requests of one user each, to be sent alone or side by side.

    Attributes:
        columns: input name -> [Q], int64, floats or fixed-width UTF-8 bytes.
        datatypes: input name -> Triton's name of its type.
        user_rows: int64 [Q].
    """

    columns: dict[str, NDArray]
    datatypes: dict[str, str]
    user_rows: NDArray[np.int64]

    def batch(self, start: int, size: int) -> dict[str, NDArray]:
        """`size` users from `start` on, around the end: input name -> [size, 1], text as objects of bytes."""
        at = np.arange(start, start + size) % len(self.user_rows)
        return {
            name: (values[at].astype(object) if values.dtype.kind == "S" else values[at])[:, None]
            for name, values in self.columns.items()
        }

    def save(self, path: Path) -> None:
        """Write them for another process, without pickle."""
        names = {f"{name}.{self.datatypes[name]}": values for name, values in self.columns.items()}
        np.savez(path, user_rows=self.user_rows, **names)

    @classmethod
    def load(cls, path: Path) -> Questions:
        """Read what `save` wrote."""
        columns, datatypes = {}, {}
        with np.load(path, allow_pickle=False) as file:
            for key in file.files:
                name, dot, datatype = key.rpartition(".")
                if dot:
                    columns[name], datatypes[name] = file[key], datatype
            return cls(columns, datatypes, file["user_rows"])


def draw_questions(run: Run, spec: ChainSpec, count: int, seed: int) -> Questions:
    """Draw users and contexts with replacement.

    Args:
        run: its data.
        spec: the chain's inputs.
        count: Q.
        seed: of the draw.
    """
    random = np.random.default_rng(seed)
    ids = np.load(run.folder("data") / "ids/users.npy", mmap_mode="r", allow_pickle=False)
    rows = random.integers(0, len(ids), count)
    columns = {"user_id": np.asarray(ids[rows])}
    datatypes = {"user_id": spec.user_id_dtype}
    if spec.context_columns:
        part = min((run.folder("data") / "train").glob("*.parquet"))
        events = pq.read_table(part, columns=[tensor.name for tensor in spec.context_columns])
        drawn = events.take(random.integers(0, len(events), count))
        for tensor in spec.context_columns:
            values = request_column(tensor, drawn[tensor.name])
            columns[tensor.name] = np.array(values.tolist()) if tensor.dtype == "BYTES" else values
            datatypes[tensor.name] = tensor.dtype
    return Questions(columns, datatypes, rows)
