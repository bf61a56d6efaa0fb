"""Rows that try an encoder: values of the table, nulls, unseen values and edges, mixed at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from workflows.features.graphs import arrow_type
from workflows.features.source import Column

__all__ = ["probe_columns", "probe_table"]

NUM_PROBES = 512
UNSEEN: dict[str, list[Any]] = {
    "int64": [0, -1, 2**62 + 1, -(2**63), 2**63 - 1],
    "string": ["", " ", "never seen", "né", "\U0001f600", "x" * 2000],
    "float64": [0.0, -0.5, -1.0, -7.25, 1e-9, 1e9],
}


def probe_columns(columns: Sequence[Column], sample: Mapping[str, list[Any]], seed: int) -> dict[str, np.ndarray]:
    """Object arrays [NUM_PROBES] for each column, drawn from its sample, its edges and null.

    Args:
        columns: what to draw for.
        sample: column -> canonical values of the table; lists for list columns.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    return {column.name: _draw(column, sample[column.name], rng) for column in columns}


def probe_table(columns: Sequence[Column], drawn: Mapping[str, np.ndarray]) -> pa.Table:
    """The same rows as a canonical table."""
    return pa.table({c.name: pa.array(drawn[c.name].tolist(), arrow_type(c)) for c in columns})


def _draw(column: Column, sample: list[Any], rng: np.random.Generator) -> np.ndarray:
    out = np.empty(NUM_PROBES, object)
    if column.is_list:
        elements = [value for values in sample if values is not None for value in values]
        pool = [*elements, *UNSEEN[column.dtype], None]
        lengths = rng.integers(0, 2 * column.spec.max_length + 2, NUM_PROBES)
        out[:] = [[pool[i] for i in rng.integers(0, len(pool), length)] for length in lengths]
        out[rng.random(NUM_PROBES) < 0.1] = None
        return out
    edges = [*UNSEEN[column.dtype], *column.boundaries] if column.dtype == "float64" else UNSEEN[column.dtype]
    if column.spec.kind == "list":
        separator = column.spec.separator
        edges = [*edges, separator, f" {separator} a{separator}", separator.join(["a", "b"] * 20)]
    pool = [*sample, *edges * (1 + len(sample) // (4 * len(edges))), *[None] * (1 + len(sample) // 10)]
    out[:] = [pool[i] for i in rng.integers(0, len(pool), NUM_PROBES)]
    return out
