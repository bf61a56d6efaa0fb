"""Signals of what was asked: users, items and contexts, compared with training where it has the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ensemble.profile.bins import Histogram, NumberBins
from operations.log.schema import CONTEXT
from operations.signals.distance import psi
from operations.signals.kinds import Measured
from operations.signals.slates import Sample
from runtime.ids import UNKNOWN

__all__ = ["column_histogram", "distance", "request_signals"]


def request_signals(everything: Sample, columns: Mapping[str, Histogram]) -> Iterator[Measured]:
    """Measure a window.

    Args:
        everything: its requests, refused and repeated ones included.
        columns: the profile's context columns; without a profile none.
    """
    first = everything.where(everything.numbers("attempt") == 1)
    yield everything.share("retries", everything.numbers("attempt") > 1)
    yield everything.share("clock_jumps", everything.numbers("at_corrected"))
    is_refused = pc.is_valid(first.table["error"]).to_numpy()
    yield first.share("errors", is_refused)
    asked = first.where(~is_refused)
    yield asked.share("unknown_users", asked.numbers("user_row") < 0)
    items, rows = asked.lists("recent")
    lengths = np.bincount(rows, minlength=len(asked)).astype(np.float64)
    yield asked.mean("recent_length", lengths)
    unknown = np.bincount(rows, items == UNKNOWN, len(asked))
    yield asked.mean("unknown_recent", np.divide(unknown, lengths, out=np.full(len(asked), np.nan), where=lengths > 0))
    yield asked.mean("slate_size", asked.numbers("slate_size").astype(np.float64))
    for name in asked.table.column_names:
        if name.startswith(CONTEXT):
            yield from _column(asked, name.removeprefix(CONTEXT), columns)


def column_histogram(asked: Sample, column: str, reference: Histogram) -> Histogram:
    """A context column counted into the bins of its reference."""
    values = asked.table[CONTEXT + column].combine_chunks()
    return Histogram.of(reference.bins, values, asked.worth(), asked.weights)


def distance(signal: str, name: str, reference: Histogram, window: Histogram, num: int) -> Measured:
    """The PSI of a histogram as a signal."""
    found = psi(reference, window)
    return Measured(signal, name, *found[:2], found.spread, num, window.num, found.is_enough)


def _column(asked: Sample, name: str, columns: Mapping[str, Histogram]) -> Iterator[Measured]:
    values = asked.table[CONTEXT + name].combine_chunks()
    is_null = pc.is_null(values, nan_is_null=pa.types.is_floating(values.type)).to_numpy(zero_copy_only=False)
    yield asked.share("null_share", is_null, name)
    if name not in columns:
        return
    window = column_histogram(asked, name, columns[name])
    yield distance("column_psi", name, columns[name], window, len(asked))
    if not isinstance(window.bins, NumberBins):
        yield asked.share("other_share", window.bins.codes(values) == len(window.bins.values), name)
