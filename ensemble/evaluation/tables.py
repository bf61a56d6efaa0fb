"""The numbers of report/metrics.json as text: cells, names, and the Markdown table of the sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "DRAWN",
    "HIGHER_IS_BETTER",
    "INFORMED",
    "LABELS",
    "best_sources",
    "default_columns",
    "estimate_cell",
    "markdown_table",
    "number",
    "outcome",
    "signed_gap",
    "was_displayed_by_chance",
]

# Coverage and novelty describe a slate; more of them is not better by itself, so nobody wins on them.
HIGHER_IS_BETTER = ("recall", "capped_recall", "ndcg", "mrr", "hit_rate", "share_of_best", "earned")

DRAWN = "Drawn at random"  # what chance gets, for scale
INFORMED = "informed"  # what could be known, not a recommender: it wins nothing

LABELS = {
    "popularity": "Popularity",
    "segment_popularity": "Popularity in the segment",
    "item_knn": "Item-kNN",
    "towers": "Two towers alone",
    "neighbours": "Item-item lists alone",
    "trending": "Trending",
    "latest": "Latest items",
    "content": "Similar content",
    "bm25_knn": "Item-kNN BM25",
    "rp3beta": "RP3beta",
    "als": "implicit ALS",
    "bpr": "implicit BPR",
    "ease": "EASE",
    "logistic": "Logistic regression",
    "lightgbm": "LightGBM",
    "retrieval": "Retrieval alone",
    "chain": "Full chain",
    INFORMED: "Informed bound",
    "drawn": DRAWN,
}


def markdown_table(metrics: Mapping[str, Any], columns: Sequence[str] = ()) -> str:
    """A Markdown table, a row a source, with 95% intervals; the best value of a column in bold.

    Args:
        metrics: the content of report/metrics.json.
        columns: metric names such as "recall@10"; empty: recall and NDCG at every cutoff, and the share of the best
            possible at the first cutoff where it is known.
    """
    sources, columns = metrics["sources"], list(columns) or default_columns(metrics)
    lines = ["| source | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for source, values in sources.items():
        cells = [estimate_cell(values.get(name), source in best_sources(sources, name)) for name in columns]
        lines.append(f"| {LABELS.get(source, source)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def was_displayed_by_chance(metrics: Mapping[str, Any]) -> bool:
    """Whether chance displayed something of the test split that was clicked."""
    return "sources" in metrics.get("random_display", {})


def signed_gap(gap: Mapping[str, float]) -> str:
    """A difference with its interval."""
    return f"{gap['value']:+.4f} ({gap['low']:+.4f} to {gap['high']:+.4f})"


def best_sources(sources: Mapping[str, Any], name: str) -> list[str]:
    """The sources with the highest mean of a metric that somebody can win on; equal ones share it."""
    if name.split("@")[0] not in HIGHER_IS_BETTER:
        return []
    named = {
        s: values[name]["value"] for s, values in sources.items() if name in values and s not in (INFORMED, "drawn")
    }
    known = {source: value for source, value in named.items() if value is not None}
    return [source for source, value in known.items() if value == max(known.values()) and value > 0]


def outcome(gap: Mapping[str, float]) -> str:
    """ "win" or "loss" where the interval of a paired difference leaves zero out, "tie" where it does not."""
    return "win" if gap["low"] > 0 else "loss" if gap["high"] < 0 else "tie"


def default_columns(metrics: Mapping[str, Any]) -> list[str]:
    """Recall and NDCG at every cutoff, then the share of the best possible."""
    cutoffs = metrics["cutoffs"]
    columns = [f"{name}@{k}" for name in ("recall", "ndcg") for k in cutoffs]
    share = f"share_of_best@{cutoffs[0]}"
    known = any(share in values for values in metrics["sources"].values())
    return [*columns, share] if known else columns


def estimate_cell(estimate: Mapping[str, float | None] | None, is_best: bool = False) -> str:
    """A mean with its interval in brackets, in bold where it is the best; "-" for none."""
    if estimate is None:
        return "-"
    text = number(estimate["value"])
    text = f"**{text}**" if is_best else text
    return text if estimate["low"] is None else f"{text} ({number(estimate['low'])} to {number(estimate['high'])})"


def number(value: float | None) -> str:
    """Four decimals under 1, two above; whole numbers as they are, "-" for none."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if abs(value) < 1 else f"{value:.2f}"
