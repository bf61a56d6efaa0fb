"""Whole tables through a compiled encoder: every distinct value is looked up once, then gathered.

Reading a code out of Categorify is a merge per column and piece; a table has far fewer distinct values than rows, so
Arrow's dictionary encoding brings the lookups down to those. The values come from the encoder itself: there is no
second implementation that could differ from the server's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from runtime.encoders import Encoder, latest
from workflows.features.schema import NULL, PADDING

__all__ = ["encode_table"]


def encode_table(encoder: Encoder, table: pa.Table) -> dict[str, NDArray]:
    """Encode the rows of a table.

    Args:
        encoder: compiled.
        table: canonical columns (`workflows.features.source.canonical`), at least those of the encoder.

    Returns:
        feature -> int32 [n] codes, float32 [n] values, or int32 [n, L] codes padded right with 0; in feature order.
    """
    return {record["name"]: _encode(encoder, record, table[record["name"]]) for record in encoder.features}


def _encode(encoder: Encoder, feature: Mapping[str, Any], column: pa.ChunkedArray) -> NDArray:
    if pa.types.is_floating(column.type):
        return encoder.encode_column(feature, column.to_numpy())  # Arrow gives NaN for null
    whole = column.unify_dictionaries().combine_chunks()
    if not pa.types.is_list(whole.type):
        indices, distinct = _distinct(whole)
        return _gather(encoder.encode_column(feature, distinct), indices, PADDING if feature["length"] else NULL)
    indices, distinct = _distinct(whole.flatten())
    alone = (distinct[:, None], np.ones(len(distinct), np.int64))  # each value as a list of its own
    codes = _gather(encoder.encode_column(feature, alone)[:, 0], indices, NULL)
    lengths = pc.fill_null(pc.list_value_length(whole), 0).to_numpy().astype(np.int64)
    there = codes != NULL
    kept = np.bincount(np.repeat(np.arange(len(lengths)), lengths)[there], minlength=len(lengths))
    return latest(codes[there], kept, feature["length"], from_end=feature["from_end"])


def _distinct(values: pa.Array) -> tuple[NDArray[np.int64], NDArray]:
    """Where each value [n] stands among the distinct ones [V]; -1 for null."""
    coded = values.dictionary_encode()  # strings are coded already
    return pc.fill_null(coded.indices, -1).to_numpy(), coded.dictionary.to_numpy(zero_copy_only=False)


def _gather(found: NDArray, indices: NDArray, null: int) -> NDArray:
    """The rows of `found` [V] or [V, L] at the indices; all `null` at -1, which numpy takes from the end."""
    return np.asarray(np.concatenate([found, np.full_like(found, null, shape=(1, *found.shape[1:]))])[indices])
