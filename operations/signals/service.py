"""Signals of the service itself: how long a request takes, and whether live events reach the slates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow.compute as pc

from operations.signals.features import knows_events
from operations.signals.kinds import Measured
from operations.signals.slates import LEAST, Sample

__all__ = ["service_signals"]

# Users who have just done something come back at once, so the newest events that slates know are minutes old.
NEWEST = 0.05


def service_signals(answered: Sample) -> Iterator[Measured]:
    """Measure a window.

    Args:
        answered: its answered requests, each once.
    """
    yield answered.mean("service_ms", answered.numbers("service_us") / 1000)
    if "stream_offset" not in answered.table.column_names:
        return
    knows = knows_events(answered)
    yield answered.share("not_live", ~knows)
    ages = pc.fill_null(answered.table["state_age_ms"], -1).to_numpy()
    has_event = knows & (ages >= 0)
    num = answered.worth(has_event)
    value = float(np.quantile(ages[has_event], NEWEST)) / 1000 if has_event.any() else np.nan
    yield Measured("event_age_s", "", value, 0.0, 0.0, int(has_event.sum()), num, num >= LEAST)
