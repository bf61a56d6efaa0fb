"""The counts of a server's processes as Prometheus' metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, product
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from operations.usage.counts import Counts, read_usage
from runtime.log.usage import BOUNDS_S, FULLNESSES, OUTCOMES

__all__ = ["UsageCollector", "usage_metrics"]

UPPER_ENDS = [*map(str, BOUNDS_S), "+Inf"]


class UsageCollector(Collector):
    """Reads LOG folders each time that it is asked.

    Args:
        logs: names the folders; another call may name more.
    """

    def __init__(self, logs: Callable[[], Sequence[Path]]) -> None:
        self._logs = logs

    def describe(self) -> list[Metric]:
        """What it gives, by name; nothing is read."""
        return list(usage_metrics(Counts()))

    def collect(self) -> Iterator[Metric]:
        """The metrics of now.

        Raises:
            CascadeError: the totals cannot be read or written.
        """
        return usage_metrics(read_usage(self._logs()))


def usage_metrics(counts: Counts) -> Iterator[Metric]:
    """The metrics of counts."""
    requests = CounterMetricFamily(
        "cascade_requests", "Requests: answered, refused with a sentence, failed.", labels=["consumer", "outcome"]
    )
    # What never happened is 0, not absent, or nobody could ask for its rate.
    for consumer, outcome in product(sorted({consumer for consumer, _ in counts.requests}), OUTCOMES):
        requests.add_metric([consumer, outcome], counts.requests[consumer, outcome])
    yield requests
    slates = CounterMetricFamily(
        "cascade_slates",
        "Slates by what they were made from, and whether they have as many items as were wanted.",
        labels=["consumer", "path", "fullness"],
    )
    for (consumer, path), fullness in product(sorted({slate[:2] for slate in counts.slates}), FULLNESSES):
        slates.add_metric([consumer, path, fullness], counts.slates[consumer, path, fullness])
    yield slates
    live = CounterMetricFamily(
        "cascade_live_slates", "Slates by whether the state of live events was there (1) or away (0).", labels=["live"]
    )
    for is_live in (True, False) if counts.live else ():
        live.add_metric([str(int(is_live))], counts.live[is_live])
    yield live
    seconds = HistogramMetricFamily(
        "cascade_service_seconds",
        "Time that the batch of a request took in the model, of the layout fused.",
        labels=["consumer"],
    )
    for consumer, times in sorted(counts.times.items()):
        buckets = list(zip(UPPER_ENDS, accumulate(times.buckets), strict=True))
        seconds.add_metric([consumer], buckets, times.sum_s)
    yield seconds
    processes = GaugeMetricFamily(
        "cascade_processes", "Processes that read requests or give answers.", labels=["version", "layout", "step"]
    )
    for labels, number in sorted(counts.processes.items()):
        processes.add_metric(labels, number)
    yield processes
