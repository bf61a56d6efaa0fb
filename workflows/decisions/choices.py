"""What a policy would have chosen from, at each logged request: its candidates, their utilities, its temperature."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from workflows.core.errors import DataError
from workflows.decisions.columns import ids_in, numbers_in
from workflows.decisions.log import DecisionLog, read_table
from workflows.decisions.raw import read_temperature

__all__ = ["Choices", "choices_of", "read_choices"]

NEEDED = ("request_id", "candidate_ids", "candidate_scores")


class Choices(msgspec.Struct, frozen=True):
    """Of a policy at the N requests of a log.

    Attributes:
        candidates: int64 [N, C], places in the log's `item_ids`, or numbers from their count on for items that the log
            does not know; -1: none.
        scores: float64 [N, C], utilities; -inf where there is none.
        temperature: float64 [N]; 0: the descending order, without chance; NaN: not said.
    """

    candidates: NDArray[np.int64]
    scores: NDArray[np.float64]
    temperature: NDArray[np.float64]


def read_choices(path: Path, log: DecisionLog) -> Choices:
    """Read the choices of a policy from Parquet.

    Args:
        path: a file, or a folder of them, with `request_id`, `candidate_ids`, `candidate_scores` and perhaps
            `temperature`; a decision log has them of its own policy.
        log: whose requests they are.

    Raises:
        DataError: it cannot be read, or says nothing of some request of the log.
    """
    try:
        return choices_of(read_table(path), log)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def choices_of(table: pa.Table, log: DecisionLog) -> Choices:
    """The choices of a policy from a table; see `read_choices`."""
    missing = [name for name in NEEDED if name not in table.column_names]
    if missing:
        raise DataError(f"choices of a policy have {', '.join(NEEDED)}; this has no {', '.join(missing)}")
    ids, scores = ids_in(table, "candidate_ids"), numbers_in(table, "candidate_scores")
    if (ids.lengths != scores.lengths).any():
        row = table["request_id"][int(np.argmax(ids.lengths != scores.lengths))]
        raise DataError(f"request {row}: there are not as many candidate_scores as candidate_ids")
    if np.isnan(scores.values).any() or (scores.values == np.inf).any():
        bad = scores.rows[np.argmax(np.isnan(scores.values) | (scores.values == np.inf))]
        raise DataError(f"request {table['request_id'][int(bad)]}: a candidate's score is no number")
    places = {name: place for place, name in enumerate(table["request_id"].cast(pa.string()).to_pylist())}
    rows = np.array([places.get(name, -1) for name in log.request_ids], np.int64)
    absent = (rows < 0) | (ids.lengths[rows] == 0)
    if absent.any():
        raise DataError(
            f"says nothing of {int(absent.sum()):,} of the log's {len(log):,} requests, {log.request_ids[absent][0]} "
            "for one; a policy that is evaluated has candidates for each"
        )
    if ids.values.null_count:
        raise DataError("a candidate of candidate_ids is null")
    ids.values = _known_first(ids.values, log.item_ids)
    width = int(ids.lengths.max(initial=1))
    candidates = ids.padded(-1, width)[rows]
    ordered = np.sort(candidates, axis=1)
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(axis=1)
    if twice.any():
        raise DataError(f"request {log.request_ids[twice][0]}: a candidate comes twice")
    return Choices(candidates, scores.padded(-np.inf, width)[rows], read_temperature(table)[rows])


def _known_first(ids: pa.Array, known: NDArray) -> NDArray[np.int64]:
    """Places in `known`, or numbers behind it for what is not there."""
    values = ids.to_numpy(zero_copy_only=False)
    if len(known) and len(values) and isinstance(known[0], str) != isinstance(values[0], str):
        raise DataError("candidate_ids are of another type than the log's item_ids; expected the same ids")
    distinct, codes = np.unique(values, return_inverse=True)
    place = np.searchsorted(known, distinct)
    is_known = known[np.minimum(place, len(known) - 1)] == distinct
    named = np.where(is_known, place, len(known) + np.arange(len(distinct)))
    found: NDArray[np.int64] = named[codes].astype(np.int64)
    return found
