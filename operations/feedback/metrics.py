"""Live quality and how feedback joins, as Prometheus' metrics."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from operations.feedback.estimate import ESTIMATE
from operations.feedback.match import ATTRIBUTED, BY_ID
from operations.feedback.quality import QUALITY, Quality, load_quality
from operations.feedback.status import FEEDBACK_STATUS, FeedbackStatus

__all__ = ["FeedbackCollector"]

EXPORTED = ("ctr", "hit", "chosen_rank", "copc", "ece", ESTIMATE)
# Days of events of which the share that found a slate is told.
LATEST_DAYS = 7
DAY_S = 86_400


class FeedbackCollector(Collector):
    """Reads what `cascade feedback` wrote when it has been written anew.

    Args:
        folder: MON.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: tuple[int, list[Quality], dict[str, dict[str, int]]] = 0, [], {}

    def describe(self) -> list[Metric]:
        """What it gives, by name; nothing is read."""
        return list(_metrics([], {}, 0.0))

    def collect(self) -> Iterator[Metric]:
        """The metrics of now.

        Raises:
            ArtefactError: a file cannot be read.
        """
        written = 0
        for name in (QUALITY, FEEDBACK_STATUS):
            try:
                written = max(written, (self._folder / name).stat().st_mtime_ns)
            except FileNotFoundError:
                continue
        if written != self._known[0]:
            self._known = written, load_quality(self._folder), FeedbackStatus.load(self._folder).days
        return _metrics(*self._known[1:], time.time())


def _metrics(
    quality: Sequence[Quality], days: Mapping[str, Mapping[str, int]], now: float
) -> Iterator[GaugeMetricFamily]:
    family = GaugeMetricFamily(
        "cascade_quality",
        "What users did with slates: live of the latest day whose labels have come, provisional of the latest one, or "
        "estimated.",
        labels=["metric", "k", "label", "how"],
    )
    for names, value in sorted(_latest(quality, now).items()):
        family.add_metric(list(names), value)
    yield family
    ratio = GaugeMetricFamily(
        "cascade_feedback_joined_ratio", "Events of the latest seven days that found the slate that they are of."
    )
    joined = every = 0
    for name in sorted(days)[-LATEST_DAYS:]:
        counts = days[name]
        joined += counts.get(BY_ID, 0) + counts.get(ATTRIBUTED, 0)
        every += sum(number for what, number in counts.items() if not what.startswith("impressions"))
    if every:
        ratio.add_metric([], joined / every)
    yield ratio


def _latest(quality: Sequence[Quality], now: float) -> dict[tuple[str, str, str, str], float]:
    """(metric, k, label, how) -> value of the latest day; of several versions on a day, of the one with most slates."""
    found: dict[tuple[str, str, str, str], float] = {}
    for each in sorted(quality, key=lambda each: (each.day, each.figure.num)):
        figure = each.figure
        kind, _, k = figure.slice.partition("=")
        if figure.metric not in EXPORTED or kind not in ("", "k") or not math.isfinite(figure.value):
            continue
        is_live = figure.is_mature and (each.day + 1) * DAY_S <= now
        how = "estimated" if figure.metric == ESTIMATE else "live" if is_live else "provisional"
        metric = "ctr" if figure.metric == ESTIMATE else figure.metric
        found[metric, k, figure.label, how] = figure.value
        if how == "live":  # of a later day than what was provisional
            found.pop((metric, k, figure.label, "provisional"), None)
    return found
