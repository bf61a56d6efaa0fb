"""The findings of a report as sentences: the chain against each other source, and what the clicks can show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ensemble.evaluation.tables import LABELS, number, outcome, signed_gap, was_displayed_by_chance

__all__ = ["POLICY_SENTENCE", "headline", "losses_sentence", "order_sentence", "outside_sentence", "verdict"]

POLICY_SENTENCE = (
    "Most test clicks are on what an earlier policy chose to display, and what it did not display cannot be clicked: "
    "recall and NDCG on all of them favour sources that resemble that policy."
)


def headline(metrics: Mapping[str, Any]) -> str:
    """What the slates would earn, without bias, or why that cannot be told; empty where chance displayed nothing.

    Args:
        metrics: the content of report/metrics.json.
    """
    record = metrics.get("off_policy")
    if not record or not was_displayed_by_chance(metrics):
        return ""
    names = [f"earned@{k}" for k in metrics["cutoffs"]]
    refused = record["refused"]["chain"]
    places = f"the {record['num_places']:,} test places that chance filled ({record['num_users']:,} users)"
    given = next((name for name in names if name not in refused), None)
    if given is None:
        return f"What the chain would earn cannot be told without bias from {places}: {refused[names[-1]]}."
    label = f"the label {record['label']}" if record["label"] else "an event"
    parts = [f"{_percent(record['sources']['chain'][given])} would get {label}"]
    if given in record["sources"].get("popularity", {}):
        gap = record["chain_minus"]["popularity"][given]
        theirs = _percent(record["sources"]["popularity"][given])
        parts.append(f"if popularity's, {theirs} ({_points(gap)}: {outcome(gap)})")
    sentence = f"Without bias, of {places}, if each held one of the chain's first {given.split('@')[1]}: "
    sentence += f"{', '.join(parts)}; as they were, {_percent(record['drawn'])} did."
    if below := [name.split("@")[1] for name in names[: names.index(given)]]:
        sentence += f" Of the first {' and '.join(below)} alone no number is given: {refused[names[0]]}."
    return sentence


def verdict(metrics: Mapping[str, Any]) -> list[str]:
    """The headline, then a sentence for each other source: does the chain beat it, and is that beyond chance?

    Where chance displayed some of the test events, these decide, beside the share of the best where it is known; what
    all clicks say comes after them, with the reason why it counts less.

    Args:
        metrics: the content of report/metrics.json.
    """
    first = metrics["cutoffs"][0]
    if not was_displayed_by_chance(metrics):
        return [
            _sentence(source, [(gaps, f"recall@{first}", ""), (gaps, f"share_of_best@{first}", "")])
            for source, gaps in metrics["chain_minus"].items()
        ]
    by_chance = metrics["random_display"]["chain_minus"]
    order = metrics["ranker"].get("random_display", {}).get("minus_popularity", {})
    longest = f"recall@{metrics['cutoffs'][-1]}"
    sentences = [
        _sentence(
            source,
            [
                *([(order, "auc", " of the order of what chance displayed")] if source == "popularity" else []),
                (by_chance[source], longest, " on what chance displayed"),
                (gaps, f"share_of_best@{first}", ""),
            ],
        )
        for source, gaps in metrics["chain_minus"].items()
    ]
    parts = [
        f"{_outcome(gaps[f'recall@{first}'], f'recall@{first}')} against {LABELS.get(source, source)}"
        for source, gaps in metrics["chain_minus"].items()
    ]
    first_words = [sentence] if (sentence := headline(metrics)) else []
    return [*first_words, *sentences, f"{POLICY_SENTENCE} There the chain {', '.join(parts)}."]


def losses_sentence(metrics: Mapping[str, Any]) -> str:
    """That the chain loses to popularity or to its own candidates beyond chance; empty where it does not.

    Where chance displayed some of the test events, the other clicks favour what is like the policy that chose them, so
    that nothing is said of these.

    Args:
        metrics: the content of report/metrics.json.
    """
    if was_displayed_by_chance(metrics):
        return ""
    name = f"recall@{metrics['cutoffs'][0]}"
    own = metrics["sources"]["chain"][name]["value"]
    better = [
        source
        for source in ("popularity", "retrieval")
        if source in metrics["chain_minus"] and outcome(metrics["chain_minus"][source][name]) == "loss"
    ]
    if not better:
        return ""
    lost = [f"{LABELS[source]} ({number(metrics['sources'][source][name]['value'])})" for source in better]
    if better == ["popularity"]:
        return (
            f"The chain loses to {lost[0]} in {name} ({number(own)}), beyond chance: of these users the tables tell "
            "little that the most popular items do not serve as well. More events, or features that say more, may help."
        )
    return (
        f"The chain loses to {' and '.join(lost)} in {name} ({number(own)}), beyond chance: its ranker makes the "
        "slates worse. Look at data.labels and ranking.training_examples, as docs/TROUBLESHOOTING.md says."
    )


def outside_sentence(metrics: Mapping[str, Any]) -> str:
    """How many relevant items nobody can recommend, and the chain's metric with them; empty without any."""
    record = metrics.get("all_pairs", {})
    if not record.get("num_outside"):
        return ""
    name = f"recall@{metrics['cutoffs'][0]}"
    sentence = (
        f"{record['num_outside']:,} of {record['num_pairs']:,} relevant test pairs ({record['share_outside']:.1%}) are "
    )
    sentence += "of items outside the catalogue, first seen in the test split, which nobody can recommend. "
    if "sources" not in record:
        return sentence.strip()
    over_all, inside = (table["sources"]["chain"][name]["value"] for table in (record, metrics))
    return sentence + f"Over all pairs the chain's {name} is {number(over_all)}, over the catalogue's {number(inside)}."


def order_sentence(metrics: Mapping[str, Any]) -> str:
    """How well the ranker orders what chance displayed; empty where that was not measured."""
    record = metrics["ranker"].get("random_display", {})
    if "ranker" not in record:
        return ""
    parts = []
    for name, words in (("auc", "AUC"), ("auc_within_users", "within users")):
        if name in record["ranker"]:
            gap = record["minus_popularity"][name]
            values = " against ".join(number(record[source][name]["value"]) for source in ("ranker", "popularity"))
            parts.append(f"{words} {values} ({signed_gap(gap)}: {outcome(gap)})")
    counts = f"{record['num_positive']:,} of {record['num_rows']:,} displays were positive"
    return f"What chance displayed ({counts}), as the chain's ranker orders it against popularity: {'; '.join(parts)}."


def _percent(estimate: Mapping[str, float]) -> str:
    if estimate["low"] is None:
        return f"{estimate['value']:.1%}"
    return f"{estimate['value']:.1%} ({estimate['low']:.1%} to {estimate['high']:.1%})"


def _points(gap: Mapping[str, float]) -> str:
    return f"{100 * gap['value']:+.1f} points, {100 * gap['low']:+.1f} to {100 * gap['high']:+.1f}"


def _sentence(source: str, figures: list[tuple[Mapping[str, Any], str, str]]) -> str:
    parts = [_outcome(gaps[name], name) + where for gaps, name, where in figures if name in gaps]
    listed = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 2 else parts)
    return f"Against {LABELS.get(source, source)}, the chain {listed}."


def _outcome(gap: Mapping[str, float], name: str) -> str:
    words = {"win": "gains {} in {}", "loss": "loses {} in {}", "tie": "shows no clear difference in {1}"}
    return words[outcome(gap)].format(number(abs(gap["value"])), "AUC" if name == "auc" else name)
