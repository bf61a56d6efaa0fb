"""The plots of the report, as SVG text to put into the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

from ensemble.evaluation.tables import LABELS
from ensemble.plotting import LEGEND, STYLE, grid, heading, svg

__all__ = ["bars", "curves", "reliability"]

# Okabe and Ito's colours, told apart by colour-blind readers; the hatches tell them apart in black and white.
COLOURS = {
    "popularity": "#8A8F98",
    "item_knn": "#E69F00",
    "retrieval": "#56B4E9",
    "chain": "#0072B2",
    "bm25_knn": "#F0E442",
    "rp3beta": "#D55E00",
    "als": "#CC79A7",
    "bpr": "#B59DD1",
    "ease": "#009E73",
    "segment_popularity": "#C7CBD1",
    "informed": "#3B3F46",
}
HATCHES = {
    "item_knn": "//",
    "retrieval": "..",
    "bm25_knn": "\\\\",
    "rp3beta": "xx",
    "als": "--",
    "bpr": "||",
    "ease": "++",
}
TITLES = {"recall": "Recall", "ndcg": "NDCG", "share_of_best": "Share of the best possible"}


def bars(sources: Mapping[str, Mapping[str, Any]], metric: str, cutoffs: Sequence[int]) -> str:
    """One group of bars a cutoff, a bar a source, with its interval."""
    with matplotlib.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(4.6, 3.3))
        width = 0.8 / max(len(sources), 1)
        for number, (source, values) in enumerate(sources.items()):
            estimates = [values.get(f"{metric}@{k}") for k in cutoffs]
            known = [(place, e) for place, e in enumerate(estimates) if e]
            axes.bar(
                [place + (number - (len(sources) - 1) / 2) * width for place, _ in known],
                [e["value"] for _, e in known],
                width * 0.92,
                color=COLOURS.get(source, "#1d2430"),
                hatch=HATCHES.get(source, ""),
                edgecolor="white",
                linewidth=0.4,
                label=LABELS.get(source, source),
                yerr=_error_bars([e for _, e in known]),
                error_kw={"elinewidth": 1, "ecolor": "#1d2430", "capsize": 2},
            )
        axes.set_xticks(range(len(cutoffs)), [f"@{k}" for k in cutoffs])
        heading(axes, TITLES.get(metric, metric))
        grid(axes)
        axes.legend(**LEGEND, ncols=2 if len(sources) <= 4 else 3)
        return svg(figure)


def reliability(bins: Sequence[Mapping[str, float]]) -> str:
    """Observed against predicted share, a dot a bin, its area by the number of rows."""
    with matplotlib.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(4.6, 3.3))
        filled = [entry for entry in bins if entry["num_rows"]]
        largest = max((entry["num_rows"] for entry in filled), default=1)
        limit = max((max(entry["predicted"], entry["observed"]) for entry in filled), default=1.0) * 1.08
        axes.plot([0, limit], [0, limit], color="#8A8F98", linestyle="--", linewidth=1, label="perfectly calibrated")
        axes.plot([e["predicted"] for e in filled], [e["observed"] for e in filled], color="#0072B2", linewidth=1.5)
        sizes = [18 + 120 * entry["num_rows"] / largest for entry in filled]
        axes.scatter(
            [e["predicted"] for e in filled],
            [e["observed"] for e in filled],
            s=sizes,
            color="#0072B2",
            alpha=0.75,
            label="ranker (area: rows)",
        )
        axes.set_ylabel("observed share")
        heading(axes, "Ranker: observed against predicted")
        axes.legend(**LEGEND, ncols=2)
        grid(axes)
        return svg(figure)


def curves(history: Sequence[Mapping[str, Any]], title: str) -> str:
    """Every number that training wrote down an epoch: the losses on the left axis, the others on the right one."""
    with matplotlib.rc_context(STYLE):
        figure, left = plt.subplots(figsize=(4.6, 3.3))
        right = left.twinx()
        right.spines["right"].set_visible(True)
        names = [name for name in history[0] if name not in ("epoch", "step") and _is_number(history[0][name])]
        colours = ["#D55E00", "#0072B2", "#009E73", "#CC79A7"]
        axes_used = {"left": False, "right": False}
        for number, name in enumerate(name for name in names if "second" not in name and not name.endswith("_s")):
            side = "left" if "loss" in name else "right"
            axes_used[side] = True
            points = [(epoch, record[name]) for epoch, record in enumerate(history, 1) if _is_number(record.get(name))]
            (left if side == "left" else right).plot(
                *zip(*points, strict=True), marker="o", markersize=3, color=colours[number % 4], label=name
            )
        left.set_ylabel("loss, by epoch")
        right.set_ylabel("quality")
        left.set_visible(True)
        left.yaxis.set_visible(axes_used["left"])
        right.yaxis.set_visible(axes_used["right"])
        left.xaxis.set_major_locator(MaxNLocator(integer=True))
        heading(left, title)
        handles = [*left.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]]
        left.legend(handles=handles, **LEGEND, ncols=2)
        grid(left)
        return svg(figure)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _error_bars(estimates: Sequence[Mapping[str, Any]]) -> list[list[float]] | None:
    if not estimates or any(e["low"] is None for e in estimates):
        return None
    down = [max(e["value"] - e["low"], 0.0) for e in estimates]
    return [down, [max(e["high"] - e["value"], 0.0) for e in estimates]]
