"""The numbers of report/metrics.json as text: a Markdown table and a short one for the console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

__all__ = [
    "HIGHER_IS_BETTER",
    "INFORMED",
    "LABELS",
    "best_sources",
    "console_table",
    "default_columns",
    "estimate_cell",
    "markdown_table",
    "number",
    "outcome",
]

# Coverage and novelty describe a slate; more of them is not better by itself, so nobody wins on them.
HIGHER_IS_BETTER = ("recall", "capped_recall", "ndcg", "mrr", "hit_rate", "share_of_best")

MANY_SOURCES = 4

INFORMED = "informed"  # what could be known, not a recommender: it wins nothing

LABELS = {
    "popularity": "Popularity",
    "segment_popularity": "Popularity in the segment",
    "item_knn": "Item-kNN",
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


def console_table(metrics: Mapping[str, Any]) -> Table:
    """The means for a narrow terminal, the best in bold: a row a metric, or a row a source where there are many."""
    sources = metrics["sources"]
    title = f"{metrics['data']['num_users_measured']:,} test users"
    if len(sources) > MANY_SOURCES:
        table = Table("source", title=title)
        names = [name for name in default_columns(metrics) if not name.startswith("ndcg")]
        for name in names:
            table.add_column(name, justify="right", no_wrap=True)
        for source in sources:
            table.add_row(LABELS.get(source, source), *(_mean(sources, source, name) for name in names))
        return table
    table = Table(title=title)
    table.add_column("metric", no_wrap=True)
    for source in sources:
        table.add_column(LABELS.get(source, source), justify="right")
    for name in default_columns(metrics):
        table.add_row(name, *(_mean(sources, source, name) for source in sources))
    return table


def _mean(sources: Mapping[str, Any], source: str, name: str) -> str:
    text = number(sources[source][name]["value"]) if name in sources[source] else "-"
    return f"[bold]{text}[/bold]" if source in best_sources(sources, name) else text


def best_sources(sources: Mapping[str, Any], name: str) -> list[str]:
    """The sources with the highest mean of a metric that somebody can win on; equal ones share it."""
    if name.split("@")[0] not in HIGHER_IS_BETTER:
        return []
    named = {s: values[name]["value"] for s, values in sources.items() if name in values and s != INFORMED}
    known = {source: value for source, value in named.items() if value is not None}
    return [source for source, value in known.items() if value == max(known.values()) and value > 0]


def outcome(gap: Mapping[str, float]) -> str:
    """What a paired difference says: "win" or "loss" where its interval leaves zero out, "tie" where it does not."""
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
