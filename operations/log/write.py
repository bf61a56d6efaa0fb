"""Parquet of requests, written so that damage is found when it is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["merge_files", "write_table"]

OPTIONS = {"compression": "zstd", "write_page_checksum": True}
# Rows that are compressed together, and so held in memory.
GROUP_ROWS = 1 << 17


def write_table(table: Any, path: Path) -> None:
    """Write rows of requests."""
    pq.write_table(table, path, **OPTIONS)


def merge_files(paths: Sequence[Path], target: Path) -> None:
    """Write the rows of files of one schema to one file, in their order.

    Raises:
        OSError, ArrowException: a file is damaged, or the disk is full.
    """
    with pq.ParquetWriter(target, pq.read_schema(paths[0]), **OPTIONS) as writer:
        for table in _groups(paths):
            writer.write_table(table, row_group_size=GROUP_ROWS)


def _groups(paths: Sequence[Path]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    for path in paths:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        for number in range(file.num_row_groups):
            waiting.append(file.read_row_group(number))
            if sum(map(len, waiting)) >= GROUP_ROWS:
                yield _joined(waiting)
                waiting = []
    if waiting:
        yield _joined(waiting)


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    # Each file has a dictionary of its own for a column of names.
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()
