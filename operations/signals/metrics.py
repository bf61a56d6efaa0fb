"""What the signals say, as Prometheus' metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from operations.signals.kinds import KINDS
from operations.signals.monitor import current
from operations.signals.table import SIGNALS, Row, load

__all__ = ["SignalCollector"]

NAMES = ["family", "signal", "slice"]


class SignalCollector(Collector):
    """Reads the signals of MON when they have been written anew.

    Args:
        folder: MON.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: tuple[int, list[Row]] = 0, []

    def describe(self) -> list[Metric]:
        """What it gives, by name; nothing is read."""
        return list(_metrics([], 0.0))

    def collect(self) -> Iterator[Metric]:
        """The metrics of now: the latest window of each signal.

        Raises:
            ArtefactError: the signals cannot be read.
        """
        try:
            written = (self._folder / SIGNALS).stat().st_mtime_ns
        except FileNotFoundError:
            return _metrics([], 0.0)
        if written != self._known[0]:
            self._known = written, current(load(self._folder))
        return _metrics(self._known[1], written / 1e9)


def _metrics(rows: Sequence[Row], looked_at: float) -> Iterator[Metric]:
    """The metrics of the current rows; a look writes them anew each time."""
    value = GaugeMetricFamily("cascade_signal", "The value of the latest day.", labels=NAMES)
    limit = GaugeMetricFamily("cascade_signal_limit", "What it may be, learnt from its past.", labels=[*NAMES, "side"])
    alarm = GaugeMetricFamily(
        "cascade_signal_alarm", "1 where it has been out of its limits for two days and more.", labels=NAMES
    )
    info = GaugeMetricFamily(
        "cascade_model_info", "The version that answered most of the latest day.", labels=["version", "chain_key"]
    )
    for row in rows:
        measured = row.measured
        names = [KINDS[measured.signal].family, measured.signal, measured.slice]
        if math.isfinite(measured.value):
            value.add_metric(names, measured.value)
        alarm.add_metric(names, float(row.is_alarm))
        for side, bound in (("low", row.limit_low), ("high", row.limit_high)):
            if math.isfinite(bound):
                limit.add_metric([*names, side], bound)
    for version, key in sorted({(str(row.model_version), row.chain_key[:16]) for row in rows}):
        info.add_metric([version, key], 1.0)
    yield from (value, limit, alarm, info)
    yield GaugeMetricFamily("cascade_monitor_last_run_timestamp_seconds", "When it looked last.", value=looked_at)
