"""Signals of what users did: of days whose labels have come, so that late ones alarm nobody."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date as Date
from pathlib import Path
from typing import Any

import numpy as np

from operations.feedback.match import FOREIGN
from operations.feedback.measure import Figure
from operations.feedback.quality import load_quality
from operations.feedback.status import FeedbackStatus
from operations.signals.kinds import KINDS, Measured
from operations.signals.slates import LEAST
from operations.signals.table import Row, rows_of

__all__ = ["feedback_rows", "is_of_feedback", "quality_of", "slices_of"]

# Figures that are signals, by label.
FIGURES = ("ctr", "chosen_rank", "copc", "ece", "estimate_error")
NUM_SLICES = 10
SHOWN_DAYS = 14
EPOCH = Date(1970, 1, 1).toordinal()


def is_of_feedback(row: Row) -> bool:
    """Whether a signal is made anew with each look, from what feedback says by then."""
    return KINDS[row.measured.signal].family == "feedback"


def feedback_rows(folder: Path, known: Sequence[Row], ended: int) -> list[Row]:
    """The signals of what users did.

    Args:
        folder: MON.
        known: the other signals, of the same days.
        ended: days since 1970 before which every day has ended.

    Raises:
        ArtefactError: what `cascade feedback` wrote cannot be read.
    """
    sizes = {(row.day, row.chain_key): (row.num_rows, row.model_version) for row in known}
    found = []
    for quality in load_quality(folder):
        figure, at = quality.figure, (quality.day, quality.chain_key)
        if figure.metric in FIGURES and not figure.slice and figure.is_mature and quality.day < ended and at in sizes:
            found += rows_of([_measured(figure)], *at, quality.model_version, sizes[at][0])
    main: dict[int, tuple[tuple[int, int], str]] = {}
    for (day, key), size in sizes.items():
        main[day] = max(main.get(day, (size, key)), (size, key))
    for day, counts in _days(folder):
        if day < ended and day in main:
            (num_rows, version), key = main[day]
            found += rows_of(list(_of_events(counts)), day, key, version, num_rows)
    return found


def slices_of(folder: Path, row: Row) -> Iterator[str]:
    """Lines on where a figure of a day differs most from the days before it, by position, path and segment."""
    past: dict[str, list[Figure]] = defaultdict(list)
    latest: dict[str, Figure] = {}
    for quality in load_quality(folder):
        figure = quality.figure
        is_same = (figure.metric, figure.label) == (row.measured.signal, row.measured.slice) and figure.slice
        if is_same and figure.is_mature and quality.chain_key == row.chain_key and np.isfinite(figure.value):
            if quality.day < row.day:
                past[figure.slice].append(figure)
            elif quality.day == row.day:
                latest[figure.slice] = figure
    moved = []
    for name, figure in latest.items():
        if past[name]:
            before = float(np.median([each.value for each in past[name]]))
            moved.append((abs(figure.value - before) / max(figure.spread, 1e-9), before, figure))
    for number, (_, before, figure) in enumerate(sorted(moved, key=lambda each: -each[0])[:NUM_SLICES]):
        if number == 0:
            yield f"{'before':>10}{'that day':>12}  slice"
        yield f"{before:10.4g}{figure.value:12.4g}  {figure.slice}"


def quality_of(folder: Path) -> list[dict[str, Any]]:
    """The latest days for the page: a row a day, version and label, the latest first."""
    rows: dict[tuple[int, str, str], dict[str, Any]] = {}
    for quality in load_quality(folder):
        figure = quality.figure
        row = rows.setdefault(
            (quality.day, figure.label, quality.chain_key),
            {"day": quality.day, "version": quality.model_version, "label": figure.label, "figures": {}},
        )
        row["figures"][f"{figure.metric} {figure.slice}".strip()] = figure
    shown = [row for _, row in sorted(rows.items(), reverse=True) if "ctr" in row["figures"]]
    return [row for row in shown if row["day"] > shown[0]["day"] - SHOWN_DAYS]


def _measured(figure: Figure) -> Measured:
    is_enough = figure.effective >= LEAST
    return Measured(
        *(figure.metric, figure.label, figure.value, 0.0, figure.spread), figure.num, figure.effective, is_enough
    )


def _days(folder: Path) -> Iterator[tuple[int, dict[str, int]]]:
    for name, counts in FeedbackStatus.load(folder).days.items():
        yield Date.fromisoformat(name).toordinal() - EPOCH, counts


def _of_events(counts: dict[str, int]) -> Iterator[Measured]:
    """Of a day's events: how many found their slate, and of how many the slate did not hold the item."""
    joined = counts.get("id", 0) + counts.get("attributed", 0)
    every = sum(number for name, number in counts.items() if not name.startswith("impressions"))
    placed = joined + counts.get(FOREIGN, 0)
    for signal, part, of in (("joined_ratio", joined, every), ("chosen_outside", counts.get(FOREIGN, 0), placed)):
        if of:
            smooth = (part + 1) / (of + 2)
            yield Measured(signal, "", part / of, 0.0, float(np.sqrt(smooth * (1 - smooth) / of)), of, of, of >= LEAST)
