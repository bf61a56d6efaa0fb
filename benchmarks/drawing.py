"""The plots of a benchmark, as SVG text."""

from __future__ import annotations

from matplotlib import pyplot as plt
from matplotlib import rc_context
from matplotlib.axes import Axes

from benchmarks.result import Plot
from ensemble.plotting import LEGEND, PALETTE, STYLE, grid, heading, svg

__all__ = ["draw"]

HATCHES = ("", "//", "..", "xx", "\\\\", "--", "", "oo")
MARKERS = "os^Dv<>P"


def draw(plot: Plot) -> str:
    """The <svg> element of a plot; a series keeps its colour, hatch and marker by its place."""
    with rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.2, 3.8))
        (_bars if plot.kind == "bars" else _lines)(axes, plot)
        if "x" in plot.log:
            axes.set_xscale("log")
        if "y" in plot.log:
            axes.set_yscale("log")
        axes.set_xlabel(plot.x_label)
        axes.set_ylabel(plot.y_label)
        heading(axes, plot.title)
        grid(axes)
        axes.legend(**LEGEND, ncols=min(len(plot.series), 4))
        return svg(figure)


def _bars(axes: Axes, plot: Plot) -> None:
    groups = list(dict.fromkeys(name for series in plot.series for name in series.x))
    width = 0.8 / max(len(plot.series), 1)
    for number, series in enumerate(plot.series):
        shift = (number - (len(plot.series) - 1) / 2) * width
        known = [(groups.index(x), y) for x, y in zip(series.x, series.y, strict=True) if y is not None]
        axes.bar(
            [place + shift for place, _ in known],
            [value for _, value in known],
            width * 0.92,
            color=PALETTE[number % len(PALETTE)],
            hatch=HATCHES[number % len(HATCHES)],
            edgecolor="white",
            linewidth=0.4,
            label=series.name,
        )
    axes.set_xticks(range(len(groups)), [str(name) for name in groups])


def _lines(axes: Axes, plot: Plot) -> None:
    for number, series in enumerate(plot.series):
        known = [(x, y) for x, y in zip(series.x, series.y, strict=True) if y is not None]
        axes.plot(
            [float(x) for x, _ in known],
            [y for _, y in known],
            marker=MARKERS[number % len(MARKERS)],
            markersize=4,
            color=PALETTE[number % len(PALETTE)],
            label=series.name,
        )
