"""Signals of what the models saw: requests of the log asked once more of the version's own files."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ensemble.profile.ask import QUERY, Answers, OpenChain
from ensemble.profile.bins import Histogram, NumberBins
from ensemble.profile.make import HISTORY_LENGTH
from ensemble.profile.profile import Profile
from operations.log.schema import CONTEXT
from operations.replay.compare import within_rounding
from operations.signals.distance import js
from operations.signals.kinds import Measured
from operations.signals.requests import distance
from operations.signals.slates import Sample
from runtime.encoders import NULL, OOV
from runtime.ids import NO_ITEM
from runtime.order_spec import POLICIES
from runtime.request import Drawn, Parsed
from runtime.spec import FLOATS, ChainSpec, encoded

__all__ = ["MOST_ASKED", "asked_again", "feature_histogram", "feature_signals", "knows_events", "mismatched", "parsed"]

# Requests of a window that are asked once more.
MOST_ASKED = 500
NO_ROW = np.int32(NO_ITEM)


def asked_again(answered: Sample) -> Sample:
    """The requests of a window to ask once more: a random sample, the same one each time.

    What was answered with live events is asked too, without them: its features are those of the export.
    """
    can_be = np.flatnonzero(answered.numbers("replayable") | knows_events(answered))
    chosen = can_be[np.argsort(answered.numbers("key")[can_be], kind="stable")[:MOST_ASKED]]
    return answered.where(np.isin(np.arange(len(answered)), chosen))


def knows_events(rows: Sample) -> NDArray[np.bool_]:
    """Which slates know the live events of then, [n]."""
    if "stream_offset" not in rows.table.column_names:
        return np.zeros(len(rows), bool)
    found: NDArray[np.bool_] = pc.greater_equal(pc.fill_null(rows.table["stream_offset"], -1), 0).to_numpy()
    return found


def parsed(rows: Sample, spec: ChainSpec) -> Parsed:
    """Rows of the log as checked requests, one user each."""
    context: dict[str, NDArray] = {}
    for column in spec.context_columns:
        values = rows.table[CONTEXT + column.name]
        if column.dtype in FLOATS:
            context[column.name] = values.to_numpy().astype(column.numpy_dtype)
        else:
            made = np.empty(len(rows), object)
            made[:] = values.cast(pa.binary()).to_pylist() if column.dtype == "BYTES" else values.to_pylist()
            context[column.name] = made
    return Parsed(
        user_row=rows.numbers("user_row").astype(np.int32),
        recent=_padded(rows, "recent"),
        exclude=_padded(rows, "excluded"),
        slate_size=rows.numbers("slate_size").astype(np.int32),
        context=context,
        drawn=_drawn(rows) if spec.explores else None,
    )


def _drawn(rows: Sample) -> Drawn | None:
    """The seeds and policies by which the slates were drawn."""
    if "seed" not in rows.table.column_names:
        return None
    policies = [POLICIES.index(name) for name in rows.table["policy"].to_pylist()]
    return Drawn(rows.numbers("seed").astype(np.int64), np.array(policies, np.int32))


def feature_signals(chain: OpenChain, rows: Sample, answers: Answers, profile: Profile) -> Iterator[Measured]:
    """Measure what requests became on the way.

    Args:
        chain: that was asked.
        rows: the requests, with the answers of the server.
        answers: those of the chain.
        profile: of its version.
    """
    exact = rows.numbers("replayable")
    if exact.any():
        yield rows.where(exact).share("replay_mismatch", mismatched(rows, answers)[exact])
    for name, reference in profile.features.items():
        window = feature_histogram(chain, rows, answers, name, reference)
        yield distance("feature_psi", name, reference, window, len(rows))
        if not isinstance(window.bins, NumberBins):
            codes = answers.arrays[encoded(name)][:, 0]
            yield rows.share("feature_null", codes == NULL, name)
            yield rows.share("feature_oov", codes == OOV, name)
    if len(profile.directions) and QUERY in answers.arrays:
        yield from _query_signals(rows, answers.arrays[QUERY], profile)


def mismatched(rows: Sample, answers: Answers) -> NDArray[np.bool_]:
    """Which slates of the server are not those of the chain's files, [n]: by items, path, or scores beyond rounding."""
    served, scores = _padded(rows, "item_rows"), _padded(rows, "scores", np.float32(0))
    width = max(served.shape[1], answers.rows.shape[1])
    items, own = _wide(served, width), _wide(answers.rows, width)
    is_other = (items != own) | ~within_rounding(_wide(scores, width), _wide(answers.scores, width))
    paths = rows.table["path"].cast(pa.binary()).to_numpy(zero_copy_only=False)
    # What pads the answers of a chain has no score.
    is_shown = (items != NO_ITEM) | (own != NO_ITEM)
    differs: NDArray[np.bool_] = (is_other & is_shown).any(axis=1) | (paths != answers.paths)
    return differs


def feature_histogram(chain: OpenChain, rows: Sample, answers: Answers, name: str, reference: Histogram) -> Histogram:
    """An encoded feature, or the length of the history, counted into the bins of its reference."""
    if name == HISTORY_LENGTH:
        values = np.count_nonzero(answers.arrays[encoded(str(chain.spec.history_feature))], axis=1)
    else:
        values = answers.arrays[encoded(name)][:, 0]
    if not isinstance(reference.bins, NumberBins):
        values = values.astype(np.int64)
    return Histogram.of(reference.bins, values, rows.worth(), rows.weights)


def _query_signals(rows: Sample, vectors: NDArray[np.float32], profile: Profile) -> Iterator[Measured]:
    mean, worth = rows.weights @ vectors / rows.weights.sum(), rows.worth()
    norms = np.linalg.norm(mean) * np.linalg.norm(profile.centroid)
    value = float(1 - mean @ profile.centroid / norms) if norms else np.nan
    yield Measured("query_drift", "", value, 0.0, 0.0, len(rows), worth, worth >= 20)
    projected = vectors @ profile.directions
    found = [
        js(reference, Histogram.of(reference.bins, projected[:, int(number)], worth, rows.weights))
        for number, reference in profile.projections.items()
    ]
    value, noise, spread = (float(np.mean(part)) for part in zip(*((*f[:2], f.spread) for f in found), strict=True))
    is_enough = all(each.is_enough for each in found)
    yield Measured("query_js", "", value, noise, spread, len(rows), worth, is_enough)


def _padded(rows: Sample, name: str, padding: np.generic = NO_ROW) -> NDArray:
    """Lists [n] as an array of the padding's dtype, [n, longest]."""
    values, of = rows.lists(name)
    lengths = np.bincount(of, minlength=len(rows))
    padded = np.full((len(rows), lengths.max(initial=0)), padding)
    padded[of, np.arange(len(of)) - (np.cumsum(lengths) - lengths)[of]] = values
    return padded


def _wide(rows: NDArray, width: int) -> NDArray:
    padding = 0 if rows.dtype.kind == "f" else NO_ITEM
    return np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=padding)
