"""`cascade monitor MON show SIGNAL`: the days of one signal, and what of it has moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from ensemble.profile.ask import ask
from ensemble.profile.bins import Histogram
from operations.folder import CHAINS, read_json
from operations.signals.exposure import decile_histograms
from operations.signals.features import asked_again, feature_histogram, mismatched, parsed
from operations.signals.feedback import is_of_feedback, slices_of
from operations.signals.limits import State
from operations.signals.measure import answered
from operations.signals.monitor import Found, current, date, read_window
from operations.signals.predictions import score_histogram
from operations.signals.requests import column_histogram
from operations.signals.slates import Sample, sample_of
from operations.signals.table import Row, load
from operations.signals.version import Version, find_version
from workflows.core.errors import ArtefactError

__all__ = ["LookShown", "SignalShown", "look_shown", "show", "shown"]

NUM_DAYS, NUM_BINS = 14, 10


class SignalShown(msgspec.Struct, frozen=True):
    """A signal of the latest window.

    Attributes:
        name: signal, or signal:slice.
        day: of the window.
        value: of the signal.
        limit_low, limit_high: null where there is none.
        state: "ok", "high", "low", "learning" or "no_data".
        since: first day of an alarm; null without one.
        model_version: that answered.
        num_rows: of the log that the window had when it was measured.
    """

    name: str
    day: str
    value: float
    limit_low: float
    limit_high: float
    state: State
    since: str | None
    model_version: int
    num_rows: int


class LookShown(msgspec.Struct, frozen=True):
    """What `cascade monitor --once --json` prints.

    Attributes:
        notes: sentences on what could not be measured.
        signals: of the latest window.
    """

    notes: list[str]
    signals: list[SignalShown]


def look_shown(found: Found) -> LookShown:
    """What a look gave, for JSON."""
    return LookShown(found.notes, [shown(row) for row in current(found.rows)])


def shown(row: Row) -> SignalShown:
    """A signal of a window, for JSON."""
    return SignalShown(
        name=row.name,
        day=date(row.day),
        value=row.measured.value,
        limit_low=row.limit_low,
        limit_high=row.limit_high,
        state=row.state,
        since=date(row.since) if row.is_alarm else None,
        model_version=row.model_version,
        num_rows=row.num_rows,
    )


def show(folder: Path, name: str) -> Iterator[str]:
    """Lines on one signal.

    Args:
        folder: MON, after `cascade monitor`.
        name: as the page writes it.

    Raises:
        ArtefactError: there is no such signal.
    """
    rows = load(folder)
    latest = {row.name: row for row in current(rows)}
    if name not in latest:
        raise ArtefactError(
            f"{name} is no signal of the latest window in {folder}; there are: "
            f"{', '.join(latest) or 'none, for no day of requests has ended yet'}"
        )
    of = latest[name]
    yield f"{'day':12}{'value':>12}{'low':>12}{'high':>12}{'users':>10}  state"
    past = [row for row in rows if row.name == name and row.chain_key == of.chain_key]
    for row in past[-NUM_DAYS:]:
        numbers = "".join(f"{value:12.4g}" for value in (row.measured.value, row.limit_low, row.limit_high))
        yield f"{date(row.day):12}{numbers}{row.measured.effective:10.0f}  {row.state}"
    if is_of_feedback(of):
        yield from slices_of(folder, of)
        return
    record = read_json(folder / CHAINS / f"{of.chain_key[:16]}.json", None)
    table = read_window(folder, of.chain_key, of.day)
    if record is None or table is None:
        return
    version, sample = find_version(record), sample_of(table)
    found = _histograms(version, answered(sample), of)
    lines = _moved(*found, of.day) if found else _examples(folder, version, sample, of)
    for number, line in enumerate(lines):
        yield f"\n{line}" if number == 0 else line


def _examples(folder: Path, version: Version, sample: Sample, row: Row) -> Iterator[str]:
    """Requests of the latest window that a signal counts, or the sentences that refused them."""
    slates, signal = answered(sample), row.measured.signal
    if signal == "errors":
        counted = Counter(sentence for sentence in sample.table["error"].to_pylist() if sentence is not None)
        yield from (f"{number:10,}  {sentence}" for sentence, number in counted.most_common(NUM_BINS))
        return
    if signal in ("empty", "short"):
        sizes = slates.numbers("num_items")
        found = slates.where(sizes == 0 if signal == "empty" else (sizes > 0) & (sizes < slates.numbers("slate_size")))
    elif signal == "replay_mismatch" and version.chain is not None:
        rows = asked_again(slates)
        differs = mismatched(rows, ask(version.chain, parsed(rows, version.chain.spec)))
        found = rows.where(differs & rows.numbers("replayable"))
    else:
        return
    yield from (
        f"cascade replay {folder} --request-id {request}"
        for request in found.table["request_id"].to_pylist()[:NUM_BINS]
    )


def _histograms(version: Version, slates: Sample, row: Row) -> tuple[Histogram, Histogram] | None:
    """The reference and the latest window of a distance or a share of a column; None for another signal."""
    signal, of = row.measured.signal, row.measured.slice
    if version.profile is None:
        return None
    if signal in ("column_psi", "other_share", "null_share") and (reference := version.profile.columns.get(of)):
        return reference, column_histogram(slates, of, reference)
    if signal.startswith("feature_") and (reference := version.profile.features.get(of)):
        return _feature(version, slates, of, reference)
    if signal == "score_js" and (reference := version.profile.scores.get(of)):
        window = score_histogram(slates, of, reference)
        return None if window is None else (reference, window)
    return decile_histograms(slates, version.profile) if signal == "popularity_js" else None


def _feature(version: Version, slates: Sample, name: str, reference: Histogram) -> tuple[Histogram, Histogram] | None:
    if version.chain is None:
        return None
    rows = asked_again(slates)
    answers = ask(version.chain, parsed(rows, version.chain.spec))
    return reference, feature_histogram(version.chain, rows, answers, name, reference)


def _moved(reference: Histogram, window: Histogram, day: int) -> Iterator[str]:
    shares = [side.counts / max(side.counts.sum(), 1.0) for side in (reference, window)]
    order = np.argsort(-np.abs(shares[1] - shares[0]), kind="stable")[:NUM_BINS]
    names = window.bins.names
    yield f"{'training':>10}{date(day):>12}  value"
    for at in order.tolist():
        yield f"{shares[0][at]:10.2%}{shares[1][at]:12.2%}  {names[at]}"
