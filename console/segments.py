"""Users by what the run's table says of them, and by how many items they have seen."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from console.site import Open
from runtime.step import load_array
from workflows.core.artefacts import read_manifest
from workflows.core.errors import CascadeError

__all__ = ["Segment", "segments_of"]

# Columns of more values are split at their quartiles, or tell nothing where they are no numbers.
MOST_VALUES = 12
SEEN = "seen items"


@dataclass(frozen=True)
class Segment:
    """Some users.

    Attributes:
        column: by which they belong together.
        value: of it, in words.
        is_in: bool [n], of a sample.
    """

    column: str
    value: str
    is_in: NDArray[np.bool_]


def segments_of(chain: Open, users: NDArray[np.int64]) -> list[Segment]:
    """The segments of a sample.

    Args:
        chain: whose users they are.
        users: [n] rows.
    """
    served = chain.explainer.served
    seen = served.folder / "state/seen_indptr.npy"
    found = list(_parts(SEEN, np.diff(load_array(seen))[users])) if seen.is_file() else []
    table = _table(chain)
    for name in [] if table is None else table.column_names:
        values = table[name].take(users)
        numbers = values.to_numpy() if values.type in _numeric() else None
        if len(distinct := values.unique()) <= MOST_VALUES:
            words = np.array([_word(value) for value in values.to_pylist()], object)
            names = sorted({_word(value) for value in distinct.to_pylist()})
            found += [Segment(name, each, words == each) for each in names] if len(names) > 1 else []
        elif numbers is not None:
            found += _parts(name, numbers)
    return found


def _parts(column: str, values: NDArray) -> Iterator[Segment]:
    """Quarters of the users by a number; where many have the same, fewer parts."""
    numbers = np.asarray(values, np.float64)
    known = numbers[np.isfinite(numbers)]
    edges = np.unique(np.quantile(known, (0.25, 0.5, 0.75), method="lower")) if len(known) else np.zeros(0)
    bounds = [-np.inf, *(edge for edge in edges if edge < known.max()), np.inf]
    for low, high in itertools.pairwise(bounds):
        last = high if np.isfinite(high) else known.max(initial=0)
        first = known[known > low].min(initial=last) if len(known) else last
        is_in = (numbers > low) & (numbers <= high)
        if len(bounds) > 2:
            yield Segment(column, f"{first:,.6g} to {last:,.6g}" if first < last else f"{last:,.6g}", is_in)


def _table(chain: Open) -> Any:
    """data/users.parquet of the run, without the ids; None where it is not there, or not the one that was exported."""
    served = chain.explainer.served
    path = None if served.root is None else served.root / "data" / "users.parquet"
    if served.root is None or path is None or not path.is_file():
        return None
    import pyarrow.parquet as pq

    try:
        exported = read_manifest(served.root / "repo")
        if read_manifest(served.root / "data").content != exported.after.get("data"):
            return None
        table = pq.read_table(path)
    except (CascadeError, OSError):
        return None
    own = exported.config["data"].get("user_id", "user_id")
    if table.num_rows != chain.explainer.nodes.spec.num_users or own not in table.column_names:
        return None
    ids = load_array(served.folder / "ids/users.npy").tolist()
    known = [value.encode() if isinstance(value, str) else value for value in table[own].to_pylist()]
    return table.drop_columns([own]) if known == ids else None


def _numeric() -> set[Any]:
    import pyarrow as pa

    return {pa.float64(), pa.float32(), pa.int64(), pa.int32(), pa.int16(), pa.int8()}


def _word(value: Any) -> str:
    return "not known" if value is None else str(value)
