"""How the request log goes, as Prometheus' metrics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from operations.log.status import Status

__all__ = ["LogCollector", "collected_logs"]

# What servers count of requests and records; see `Status`.
COUNTED = ("written", "dropped_queue", "dropped_disk", "without_id", "failed")


class LogCollector(Collector):
    """Reads the status of a collected log each time that it is asked.

    Args:
        folder: MON.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def describe(self) -> list[Metric]:
        """What it gives, by name; nothing is read."""
        return list(_metrics(Status({})))

    def collect(self) -> Iterator[Metric]:
        """The metrics of now.

        Raises:
            ArtefactError: the status cannot be read.
        """
        return _metrics(Status.load(self._folder))


def collected_logs(folder: Path) -> list[Path]:
    """The LOG folders that were collected into MON.

    Raises:
        ArtefactError: the status cannot be read.
    """
    return [Path(log) for log in Status.load(folder).logs]


def _metrics(status: Status) -> Iterator[Metric]:
    records = CounterMetricFamily(
        "cascade_log_records", "Requests of the sample, by what became of their record.", labels=["what"]
    )
    for what in COUNTED:
        records.add_metric([what], status.counts[what])
    yield records
    yield CounterMetricFamily("cascade_log_rows", "Rows that were collected.", value=status.counts["rows"])
    yield GaugeMetricFamily(
        "cascade_log_collected_timestamp_seconds", "When the log was collected last.", value=status.collected_at
    )
    yield GaugeMetricFamily(
        "cascade_log_lag_seconds", "Age of the oldest request of the last collection that had any.", value=status.lag_s
    )
