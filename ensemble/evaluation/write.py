"""report/recommendations.parquet: every slate of the chain and its retriever, in raw ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ensemble.evaluation.measure import Slates
from ensemble.evaluation.queries import Queries

__all__ = ["raw_ids", "write_recommendations"]

CHUNK_USERS = 10_000


def write_recommendations(
    path: Path, answers: Sequence[Slates], queries: Queries, user_ids: NDArray, item_ids: NDArray
) -> int:
    """Write source, user_id, rank (1 is best), item_id and score, ordered by source as given, then user, then rank.

    Args:
        path: the file.
        answers: one Slates a source.
        queries: the Q queries.
        user_ids: raw ids by user_row, int64 or UTF-8 bytes.
        item_ids: raw ids by item_row, int64 or UTF-8 bytes.

    Returns:
        The number of rows.
    """
    schema = pa.schema(
        {
            "source": pa.dictionary(pa.int8(), pa.string()),
            "user_id": raw_ids(user_ids[:0]).type,
            "rank": pa.int32(),
            "item_id": raw_ids(item_ids[:0]).type,
            "score": pa.float32(),
        }
    )
    names = pa.array([answer.source for answer in answers])
    num_rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for number, answer in enumerate(answers):
            for start in range(0, len(queries), CHUNK_USERS):
                rows = answer.rows[start : start + CHUNK_USERS]
                user, place = np.nonzero(rows >= 0)
                source = pa.DictionaryArray.from_arrays(pa.array(np.full(len(user), number, np.int8)), names)
                columns = [
                    source,
                    raw_ids(user_ids[queries.user_rows[start + user]]),
                    pa.array((place + 1).astype(np.int32)),
                    raw_ids(item_ids[rows[user, place]]),
                    pa.array(answer.scores[start + user, place].astype(np.float32)),
                ]
                writer.write_table(pa.table(columns, schema=schema))
                num_rows += len(user)
    return num_rows


def raw_ids(ids: NDArray) -> pa.Array:
    """Ids as an Arrow array: int64, or strings from UTF-8 bytes."""
    if ids.dtype.kind == "S":
        return pa.array(ids.tolist(), pa.binary()).cast(pa.string())
    return pa.array(ids.astype(np.int64))
