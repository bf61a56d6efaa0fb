"""A finished report as Markdown, as docs/experiments has it: sources, differences, how the baselines were tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ensemble.evaluation.tables import (
    DRAWN,
    LABELS,
    best_sources,
    default_columns,
    estimate_cell,
    markdown_table,
    number,
    outcome,
    signed_gap,
    was_displayed_by_chance,
)
from ensemble.evaluation.verdict import headline, order_sentence

__all__ = [
    "all_pairs_table",
    "baseline_table",
    "difference_table",
    "off_policy_table",
    "picked_words",
    "random_display_table",
    "report_text",
    "slice_table",
    "target_table",
]


def report_text(name: str, metrics: Mapping[str, Any], columns: Sequence[str] = ()) -> str:
    """Everything that `cascade tables` prints of one run.

    Args:
        name: of the run.
        metrics: the content of report/metrics.json.
        columns: metric names such as "recall@10"; empty: the default ones.
    """
    parts = [
        f"### {name}: {metrics['data']['num_users_measured']:,} test users\n",
        off_policy_table(metrics),
        random_display_table(metrics),
        order_sentence(metrics) + "\n" if order_sentence(metrics) else "",
        f"{unmeasured}\n" if (unmeasured := metrics.get("unmeasured")) else markdown_table(metrics, columns),
        all_pairs_table(metrics, columns),
        *(
            difference_table(metrics, subject, columns)
            for subject in ("chain", "retrieval")
            if metrics.get(f"{subject}_minus")
        ),
        baseline_table(metrics.get("baselines", {})),
        slice_table(metrics),
        target_table(metrics.get("targets", [])),
        ranker_text(metrics["ranker"]),
        classifier_table(metrics["ranker"]),
    ]
    return "\n".join(part for part in parts if part)


def all_pairs_table(metrics: Mapping[str, Any], columns: Sequence[str] = ()) -> str:
    """The sources over all relevant pairs, those outside the catalogue included; empty where none is outside."""
    record = metrics.get("all_pairs", {})
    if "sources" not in record:
        return ""
    names = list(columns) or [name for name in default_columns(metrics) if not name.startswith("share_of_best")]
    table = markdown_table({**metrics, "sources": record["sources"]}, names)
    head = f"over all pairs ({record['share_outside']:.1%} outside the catalogue, {record['num_users']:,} users)"
    return table.replace("| source |", f"| {head} |", 1)


def off_policy_table(metrics: Mapping[str, Any]) -> str:
    """The headline, and what every source would earn at each cutoff that has a number; empty without a headline."""
    if not (told := headline(metrics)):
        return ""
    record = metrics["off_policy"]
    names = [f"earned@{k}" for k in metrics["cutoffs"] if any(f"earned@{k}" in of for of in record["sources"].values())]
    if not names:
        return f"{told}\n"
    lines = [
        f"| by the {record['num_places']:,} places that chance filled | "
        + " | ".join([*names, *(f"chain minus it, @{name.split('@')[1]}" for name in names)])
        + " |",
        "|---|" + "---:|" * (2 * len(names)),
    ]
    for source, values in record["sources"].items():
        cells = [estimate_cell(values.get(name), source in best_sources(record["sources"], name)) for name in names]
        minus = record["chain_minus"].get(source, {})
        cells += [f"{signed_gap(minus[name])} {outcome(minus[name])}" if name in minus else "" for name in names]
        lines.append(f"| {LABELS.get(source, source)} | " + " | ".join(cells) + " |")
    drawn = [estimate_cell(record["drawn"])] * len(names)
    return "\n".join([told, "", *lines, "| " + " | ".join([DRAWN, *drawn, *("" for _ in names)]) + " |"]) + "\n"


def random_display_table(metrics: Mapping[str, Any]) -> str:
    """Recall on what chance displayed as a Markdown table, with the chain's differences; empty where nothing was."""
    if not was_displayed_by_chance(metrics):
        return ""
    record = metrics["random_display"]
    names, sources = list(record["drawn"]), record["sources"]
    counts = f"{record['num_positive']:,} of {record['num_displays']:,}, {record['num_users']:,} users"
    gaps = [f"chain minus it, @{name.split('@')[1]}" for name in names]
    lines = [
        f"| on what chance displayed: {counts} | " + " | ".join([*names, *gaps]) + " |",
        "|---|" + "---:|" * (2 * len(names)),
    ]
    for source, values in sources.items():
        cells = [estimate_cell(values[name], source in best_sources(sources, name)) for name in names]
        minus = record["chain_minus"].get(source, {})
        cells += [f"{signed_gap(minus[name])} {outcome(minus[name])}" if name in minus else "" for name in names]
        lines.append(f"| {LABELS.get(source, source)} | " + " | ".join(cells) + " |")
    drawn = [number(record["drawn"][name]) for name in names]
    return "\n".join([*lines, "| " + " | ".join([DRAWN, *drawn, *("" for _ in names)]) + " |"]) + "\n"


def difference_table(metrics: Mapping[str, Any], subject: str, columns: Sequence[str] = ()) -> str:
    """Paired differences of a source to every other one, with intervals; "tie" where the interval holds zero.

    Args:
        metrics: the content of report/metrics.json.
        subject: "chain" or "retrieval".
        columns: metric names; empty: the default ones.
    """
    columns = list(columns) or default_columns(metrics)
    lines = [f"| {LABELS[subject]} minus | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for source, gaps in metrics[f"{subject}_minus"].items():
        cells = [_difference(gaps.get(name)) for name in columns]
        lines.append(f"| {LABELS.get(source, source)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def slice_table(metrics: Mapping[str, Any]) -> str:
    """Recall at the first cutoff of every source on every slice, with intervals; empty without slices."""
    name, sources = f"recall@{metrics['cutoffs'][0]}", list(metrics["sources"])
    lines = [
        f"| {name} of | users | " + " | ".join(LABELS.get(source, source) for source in sources) + " |",
        "|---|" + "---:|" * (len(sources) + 1),
    ]
    for label, part in metrics.get("slices", {}).items():
        cells = [estimate_cell(part[source].get(name)) for source in sources]
        lines.append(f"| {label.replace('_', ' ')} | {part['num_users']:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def target_table(targets: Sequence[Mapping[str, Any]]) -> str:
    """The targets with value, bound and whether they are met; empty without any."""
    lines = ["| target | value | bound | met |", "|---|---:|---:|---|"]
    for target in targets:
        met = f"{target['missing']} was not measured" if target["met"] is None else "yes" if target["met"] else "no"
        lines.append(f"| {target['name']} | {number(target['value'])} | {number(target['target'])} | {met} |")
    return "\n".join(lines) + "\n" if targets else ""


def baseline_table(baselines: Mapping[str, Any]) -> str:
    """What the search on valid picked for every tuned source, or why a source is missing; empty without any."""
    rows = []
    for source, baseline in baselines.items():
        label = LABELS.get(source, source)
        if baseline["skipped"]:
            rows.append(f"| {label} | {baseline['skipped']} | - | - | - |")
        elif baseline["trials"]:
            trials = f"{len(baseline['trials'])}{'' if baseline['ended'] else ' (budget)'}"
            seconds = f"{baseline['tuning_seconds']:.0f} | {baseline['fit_seconds']:.1f}"
            rows.append(f"| {label} | {picked_words(baseline['picked'])} | {trials} | {seconds} |")
    header = "| tuned on valid | picked | trials | tuning, s | fit, s |\n|---|---|---:|---:|---:|\n"
    return header + "\n".join(rows) + "\n" if rows else ""


def picked_words(picked: Mapping[str, Any]) -> str:
    """Parameters in one line; "-" where there are none."""
    return ", ".join(f"{name} = {value}" for name, value in picked.items()) or "-"


def ranker_text(ranker: Mapping[str, Any]) -> str:
    """The ranker's figures in a sentence; empty where it could not be measured."""
    if "auc" not in ranker:
        return ""
    rows, warning = ranker.get("rows", "").removeprefix("rows: "), ranker.get("warning")
    return (
        f"Ranker on {ranker['num_rows']:,} rows ({rows}): AUC {ranker['auc']:.4f}, logloss "
        f"{ranker['logloss']:.4f} (constant: {ranker['constant_logloss']:.4f}), expected calibration error "
        f"{ranker['expected_calibration_error']:.4f}.{' ' + warning if warning else ''}{_frozen_words(ranker)}\n"
        f"{_task_table(ranker.get('tasks', {}))}"
    )


def _task_table(tasks: Mapping[str, Mapping[str, Any]]) -> str:
    """Every task's probabilities beside what happened; empty without tasks."""
    rows = []
    for name, figures in tasks.items():
        if "auc" not in figures:
            rows.append(f"| {name} | {figures['skipped']} | - | - | - | - |")
            continue
        predicted, observed = figures["mean_probability"], figures["positive_share"]
        rows.append(
            f"| {name} | {figures['num_rows']:,} | {observed:.4f} | {predicted / observed:.3f} | {figures['auc']:.4f} "
            f"| {figures['logloss']:.4f} |"
        )
    header = "\n| task | rows | happened | predicted / happened | AUC | logloss |\n|---|---:|---:|---:|---:|---:|\n"
    return header + "\n".join(rows) + "\n" if rows else ""


def _frozen_words(ranker: Mapping[str, Any]) -> str:
    if "frozen" not in ranker:
        return ""
    return (
        f" Histories go up to each event; frozen at the end of valid: AUC {ranker['frozen']['auc']:.4f}, logloss "
        f"{ranker['frozen']['logloss']:.4f}."
    )


def classifier_table(ranker: Mapping[str, Any]) -> str:
    """Other classifiers beside the ranker, and the ranker minus each, with histories up to each event and, where events
    are ordered, frozen at the end of valid; empty where none was measured.
    """
    rows = []
    kinds = [("minus", "")] + ([("minus_frozen", ", frozen")] if "minus_frozen" in ranker else [])
    for name, baseline in ranker.get("baselines", {}).items():
        label = LABELS.get(name, name)
        if baseline["skipped"]:
            rows.append(f"| {label} | {baseline['skipped']} | - | - | - | - |")
            continue
        for kind, words in kinds:
            gaps, figures = ranker[kind][name], baseline["frozen"] if words else baseline
            better = {**gaps["logloss"], "low": -gaps["logloss"]["high"], "high": -gaps["logloss"]["low"]}
            rows.append(
                f"| {label}{words} | {picked_words(baseline['picked'])} | {figures['auc']:.4f} "
                f"| {figures['logloss']:.4f} | {_difference(gaps['auc'])} "
                f"| {signed_gap(gaps['logloss'])} {outcome(better)} |"
            )
    header = "| classifier | picked | AUC | logloss | ranker's AUC minus | ranker's logloss minus |\n"
    return header + "|---|---|---:|---:|---:|---:|\n" + "\n".join(rows) + "\n" if rows else ""


def _difference(gap: Mapping[str, float] | None) -> str:
    if gap is None:
        return "-"
    return f"{signed_gap(gap)} {outcome(gap)}"
