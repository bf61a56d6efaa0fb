"""Values of features from the counts that records keep. Training makes them of its own counts by the same formulas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.stream.windows import Window, values

__all__ = [
    "COUNT",
    "RATE",
    "SHARE",
    "SINCE",
    "LiveFeature",
    "of_records",
    "pair_value",
    "rate",
    "since",
    "unless_expired",
]

COUNT, RATE, SINCE, SHARE = "count", "rate", "since", "share"
SECOND = 1_000_000_000
SMALLEST_RATE = 1e-6


@dataclass(frozen=True)
class LiveFeature:
    """One feature of a user or an item.

    Attributes:
        name: of the column.
        kind: COUNT: events in a window; RATE: of two windows of one length; SINCE: seconds since the latest event;
            SHARE: how much of the user's history is like a candidate, for which no record is read.
        windows: what is counted: one window, or of a rate two.
        label: of SINCE; of SHARE the column of the items.
        prior: of a rate: events of the second kind that it begins with.
        base: of a rate: the rate of those.
        ttl_s: of users: where the latest event is longer ago than this, the feature is not known; 0: never.
        last: of a share: items of the history that are looked at.
    """

    name: str
    kind: str
    windows: tuple[Window, ...] = ()
    label: str = ""
    prior: float = 0.0
    base: float = 0.0
    ttl_s: int = 0
    last: int = 0


def of_records(
    feature: LiveFeature, records: NDArray, windows: Sequence[Window], labels: Sequence[str], t: NDArray[np.int64]
) -> NDArray[np.float64]:
    """A feature of users or items.

    Args:
        feature: it.
        records: [n] of `user_record` or `item_record`.
        windows: of the records.
        labels: of the records' `since`.
        t: int64 [n] or [1], the instant that is asked for, nanoseconds.

    Returns:
        float64 [n], NaN where the latest event is asked for and there is none, or the feature has expired.
    """
    found = _of_records(feature, records, windows, labels, t)
    return unless_expired(found, feature, records["last_at"], t) if feature.ttl_s else found


def _of_records(
    feature: LiveFeature, records: NDArray, windows: Sequence[Window], labels: Sequence[str], t: NDArray[np.int64]
) -> NDArray[np.float64]:
    if feature.kind == SINCE:
        return since(records["since"][:, labels.index(feature.label)], t)
    places = [windows.index(window) for window in feature.windows]
    counts = [values(records["newest"][:, p], records["tiles"][:, p], windows[p], t) for p in places]
    return rate(counts[0], counts[1], feature.prior, feature.base) if feature.kind == RATE else counts[0].astype(float)


def unless_expired(
    found: NDArray[np.float64], feature: LiveFeature, last_at: NDArray[np.int64], t: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The values; NaN where the user's latest event (nanoseconds, 0: there is none) is too long ago at t."""
    return np.where((last_at > 0) & (t - last_at > feature.ttl_s * SECOND), np.nan, found)


def rate(first: NDArray, second: NDArray, prior: float, base: float) -> NDArray[np.float64]:
    """(first + prior * base) / (second + prior): a Gamma posterior's mean, near `base` where little is known."""
    return np.asarray((first + prior * base) / (second + prior))


def since(latest: NDArray[np.int64], t: NDArray[np.int64]) -> NDArray[np.float64]:
    """Seconds from the latest event (nanoseconds, 0: there is none) to t; an event that is ahead of t is 0 s ago."""
    return np.where(latest > 0, np.maximum(t - latest, 0) / SECOND, np.nan)


def pair_value(feature: LiveFeature, found: NDArray[np.float64]) -> NDArray[np.float32]:
    """A feature of an item as the ranker takes it: log(1 + count), or the log of a rate to that of all events."""
    if feature.kind == RATE:
        found = np.maximum(found, SMALLEST_RATE) / max(feature.base, SMALLEST_RATE) - 1.0
    return np.asarray(np.log1p(found), np.float32)
