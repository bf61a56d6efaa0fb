"""The look that every plot of Cascade shares, and figures as SVG text."""

from __future__ import annotations

import io
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["LEGEND", "PALETTE", "STYLE", "grid", "heading", "svg"]

# Below the axes, where it cannot hide a bar or a curve.
LEGEND: dict[str, Any] = {"frameon": False, "fontsize": 8, "loc": "upper center", "bbox_to_anchor": (0.5, -0.16)}
# Okabe and Ito's colours, told apart by colour-blind readers.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8F98", "#1d2430")
STYLE = {
    "svg.fonttype": "none",  # text stays text: smaller, selectable, readable by screen readers
    "svg.hashsalt": "cascade",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#5b6472",
    "axes.labelcolor": "#1d2430",
    "xtick.color": "#1d2430",
    "ytick.color": "#1d2430",
    "hatch.linewidth": 0.6,
}


def heading(axes: Axes, title: str) -> None:
    """The title of a plot, over its left edge."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")


def grid(axes: Axes) -> None:
    """Faint horizontal lines behind the data."""
    axes.grid(axis="y", color="#e3e6eb", linewidth=0.8)
    axes.set_axisbelow(True)


def svg(figure: Figure) -> str:
    """The figure's <svg> element, without the XML header; the figure is closed."""
    buffer = io.StringIO()
    figure.tight_layout()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
