"""report/index.html: one page with its plots inside, nothing fetched from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ensemble.evaluation import figures
from ensemble.evaluation.markdown import picked_words
from ensemble.evaluation.tables import LABELS, best_sources, number, outcome, was_displayed_by_chance
from ensemble.evaluation.verdict import order_sentence, outside_sentence, verdict
from ensemble.html_pages import html_pages

__all__ = ["render"]

TEMPLATE = "report.html.j2"
METRICS = {
    "recall": "hits / relevant",
    "capped_recall": "hits / min(k, relevant)",
    "ndcg": "binary gains, ideal over min(k, relevant)",
    "mrr": "1 / place of the first hit",
    "hit_rate": "users with a hit",
    "share_of_best": "expected clicks / those of the ideal slate",
    "coverage": "distinct items shown / eligible items",
    "novelty": "mean surprisal of the items, bits",
}
BARS = ("recall", "ndcg", "share_of_best")


def render(
    metrics: Mapping[str, Any],
    *,
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    examples: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
) -> str:
    """The page.

    Args:
        metrics: the content of report/metrics.json.
        histories: title -> what a model's training wrote down each epoch.
        examples: of a few users: "user_id", "history" and "slates" (source -> items), an item being {"item_id", "text",
            "is_hit"}.
        facts: label -> value, for the facts of the run.
    """
    filters: dict[str, Callable[..., Any]] = {
        "number": number,
        "signed": _signed,
        "outcome": outcome,
        "picked": picked_words,
    }
    environment = html_pages(Path(__file__).parent, filters)
    sources = metrics["sources"]
    by_chance = metrics["random_display"] if was_displayed_by_chance(metrics) else {}
    earned, off_policy = _earned(metrics), metrics.get("off_policy", {})
    shown = [
        name for name in METRICS if any(f"{name}@{metrics['cutoffs'][0]}" in values for values in sources.values())
    ]
    return environment.get_template(TEMPLATE).render(
        metrics=metrics,
        labels=LABELS,
        shown=shown,
        meaning=METRICS,
        best={f"{name}@{k}": best_sources(sources, f"{name}@{k}") for name in shown for k in metrics["cutoffs"]},
        plots=_plots(metrics, histories),
        examples=examples,
        facts=facts,
        verdict=[*verdict(metrics), *filter(None, [outside_sentence(metrics)])],
        earned=earned,
        best_earned={key: best_sources(off_policy["sources"], key) for key in earned},
        by_chance=by_chance,
        best_by_chance={key: best_sources(by_chance["sources"], key) for key in by_chance.get("drawn", {})},
        over_all=_best_over_all(metrics),
        order=order_sentence(metrics),
        compared=[name for name in ("recall", "ndcg", "share_of_best") if name in shown],
    )


def _earned(metrics: Mapping[str, Any]) -> list[str]:
    """The cutoffs at which the chain has an unbiased number, as metrics."""
    if not was_displayed_by_chance(metrics):
        return []
    known = metrics.get("off_policy", {}).get("sources", {}).get("chain", {})
    return [f"earned@{k}" for k in metrics["cutoffs"] if f"earned@{k}" in known]


def _best_over_all(metrics: Mapping[str, Any]) -> dict[str, list[str]]:
    """Recall and NDCG over all pairs -> who is best in it; empty where no pair is outside the catalogue."""
    sources = metrics.get("all_pairs", {}).get("sources", {})
    names = [f"{name}@{k}" for name in ("recall", "ndcg") for k in metrics["cutoffs"]] if sources else []
    return {name: best_sources(sources, name) for name in names}


def _plots(metrics: Mapping[str, Any], histories: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    sources, cutoffs = metrics["sources"], metrics["cutoffs"]
    plots = []
    for name in BARS:
        if metrics["unmeasured"] is None and any(f"{name}@{cutoffs[0]}" in values for values in sources.values()):
            means = [
                f"{LABELS.get(s, s)} {number(values[key]['value'])}"
                for s, values in sources.items()
                if (key := f"{name}@{cutoffs[0]}") in values
            ]
            alt = f"Bars of {name} at {', '.join(map(str, cutoffs))}. At {cutoffs[0]}: {', '.join(means)}."
            plots.append({"svg": figures.bars(sources, name, cutoffs), "alt": alt})
    if metrics["ranker"].get("reliability"):
        error = number(metrics["ranker"]["expected_calibration_error"])
        alt = f"Observed share against predicted probability of the ranker; expected calibration error {error}."
        plots.append({"svg": figures.reliability(metrics["ranker"]["reliability"]), "alt": alt})
    for title, history in histories.items():
        if history:
            plots.append({"svg": figures.curves(history, title), "alt": f"{title}, {len(history)} epochs."})
    return [{**plot, "svg": Markup(_own_ids(plot["svg"], number))} for number, plot in enumerate(plots)]


def _own_ids(svg: str, number: int) -> str:
    """Give the ids inside a figure their own prefix; hide its drawing from screen readers, which read the label."""
    svg = svg.replace('id="', f'id="f{number}-').replace("url(#", f"url(#f{number}-")
    svg = svg.replace('href="#', f'href="#f{number}-')
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)


def _signed(value: float) -> str:
    return f"{value:+.4f}" if abs(value) < 1 else f"{value:+.2f}"
