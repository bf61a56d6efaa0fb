"""The stage `evaluate`: queries every source alike and writes report/."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ensemble.config import ChainConfig, Config
from ensemble.evaluation.all_pairs import measure_all_pairs
from ensemble.evaluation.best import share_of_best
from ensemble.evaluation.informed import why_not_informed
from ensemble.evaluation.measure import Columns, Slates, compare, measure_source, summarise
from ensemble.evaluation.off_policy import measure_off_policy
from ensemble.evaluation.random_display import measure_random_display
from ensemble.evaluation.report import print_summary, write_report
from ensemble.evaluation.setting import Setting, open_setting
from ensemble.evaluation.slate_notes import slate_notes
from ensemble.evaluation.slices import measure_slices
from ensemble.evaluation.sources import ask_all
from ensemble.evaluation.tables import INFORMED
from ensemble.evaluation.targets import check_targets
from ensemble.evaluation.truth import true_probability, why_no_truth
from ensemble.evaluation.unmeasured import no_slates, nothing_measured, why_unmeasured
from ensemble.evaluation.verdict import POLICY_SENTENCE
from ensemble.evaluation.write import write_recommendations
from ensemble.export.graph import code_of_graph
from models.baselines.fitted import BaselineRecord
from models.index.meta import IndexMeta
from models.metrics.bootstrap import Resamples
from workflows.core.artefacts import Manifest
from workflows.core.device import Device, announce
from workflows.core.run import Run, run_stage

__all__ = ["STAGES_READ", "drawn_for_truth", "evaluate", "print_summary"]

STAGES_READ = ("data", "features", "retrieval", "neighbours", "sources", "index", "ranking")
FORMAT_VERSION = 2  # of metrics.json; `metrics_file` reads 1 as well
INFORMED_NOTE = (
    "The informed bound knows the items, the contexts and the logging policy, and infers the tastes and budgets of "
    "the users from the tables that the chain has."
)


def evaluate(run: Run, config: Config, force: bool = False) -> Manifest:
    """Measure the baselines, retrieval alone and the chain on the test split; write report/.

    Args:
        run: its stages up to ranking have finished.
        config: of the run.
        force: measure again even when up to date.

    Raises:
        ArtefactError: an earlier stage has not finished.
        DataError: a column of users that the config names is missing.
    """
    sections = {name: getattr(config, name) for name in ("data", "evaluate", "chain")}
    sections["label"] = config.ranking.label
    sections["items"] = list(config.features.items)
    if config.data.propensity:
        sections["ope"] = config.ope
    return run_stage(
        run,
        "report",
        config=sections,
        after=STAGES_READ,
        inputs={"graph": code_of_graph(config.chain.graph)} if config.chain.graph != ChainConfig().graph else None,
        body=lambda folder: _body(run, config, folder),
        force=force,
    )


def _body(run: Run, config: Config, folder: Path) -> dict[str, Any]:
    from ensemble.evaluation.ranker_rows import ranker_quality

    announce("evaluate", Device("cpu", "it runs the same steps as the server, which need no GPU here"))
    setting = open_setting(run, config)
    answers, baselines = dict[str, Slates](), dict[str, BaselineRecord]()
    if why_unmeasured(config, setting.queries) is None:
        answers, baselines = ask_all(run, config, setting)
    metrics = measure(run, config, setting, answers)
    metrics["baselines"] = msgspec.to_builtins(baselines)
    metrics["ranker"] = ranker_quality(run, config)
    metrics["targets"] = check_targets(metrics, config.evaluate.targets)
    metrics["recommendation_rows"] = write_recommendations(
        folder / "recommendations.parquet",
        [answers[source] for source in ("retrieval", "chain") if source in answers],
        setting.queries,
        setting.user_ids,
        setting.item_ids,
    )
    shown = answers.get("chain") or no_slates("chain", max(config.evaluate.cutoffs))
    write_report(run, config, folder, metrics, setting.queries, setting.state, shown, _ids(setting))
    first = config.evaluate.cutoffs[0]
    return {
        "num_users": len(setting.queries),
        f"recall@{first}": {s: values[f"recall@{first}"]["value"] for s, values in metrics["sources"].items()},
    }


def measure(run: Run, config: Config, setting: Setting, answers: dict[str, Slates]) -> dict[str, Any]:
    """Every number of metrics.json but the ranker's, as plain dictionaries.

    Args:
        run: for the truth and the index.
        config: cutoffs, resamples, seeds.
        setting: what the sources were queried with.
        answers: source -> its slates; "chain" among them, or none where no slate can be judged.
    """
    cutoffs, queries = sorted(set(config.evaluate.cutoffs)), setting.queries
    num_eligible = int(setting.eligible.sum())
    facts = {
        "num_users": len(setting.user_ids),
        "num_items": len(setting.item_ids),
        "num_eligible_items": num_eligible,
        "filter_seen": config.chain.filter_seen,
    }
    why_not = why_unmeasured(config, queries)
    metrics = {
        "format_version": FORMAT_VERSION,
        "cutoffs": cutoffs,
        "data": {**facts, **queries.facts},
        "unmeasured": why_not,
        "index": msgspec.to_builtins(IndexMeta.load(run.folder("index"))),
    }
    resamples = Resamples(config.evaluate.num_bootstrap, config.evaluate.seed)
    if why_not is not None:
        return (
            metrics | nothing_measured(cutoffs) | {"all_pairs": measure_all_pairs(answers, queries, cutoffs, resamples)}
        )
    columns = {s: measure_source(answer, queries, setting.state, cutoffs) for s, answer in answers.items()}
    notes = _add_share_of_best(run, config, setting, answers, columns, cutoffs)
    notes += slate_notes(run, config, queries, setting.state, answers["chain"].rows)
    by_chance = _random_display(config, setting, answers, cutoffs, resamples)
    return metrics | {
        **({"random_display": by_chance} if by_chance else {}),
        **_off_policy(config, setting, answers, cutoffs),
        "all_pairs": measure_all_pairs(answers, queries, cutoffs, resamples),
        "sources": msgspec.to_builtins(summarise(columns, answers, num_eligible, cutoffs, resamples)),
        "chain_minus": msgspec.to_builtins(compare(columns, "chain", resamples)),
        "retrieval_minus": msgspec.to_builtins(compare(columns, "retrieval", resamples)),
        "slices": measure_slices(answers, columns, queries, setting.state, setting.segments, cutoffs, resamples),
        "seconds": {s: answer.seconds for s, answer in answers.items()},
        "users_per_second": {s: len(queries) / max(answer.seconds, 1e-9) for s, answer in answers.items()},
        "notes": notes,
    }


def _off_policy(config: Config, setting: Setting, answers: dict[str, Slates], cutoffs: Sequence[int]) -> dict[str, Any]:
    """What chance displayed says of every source; empty where it displayed nothing."""
    places = setting.queries.places
    if places is None or not len(places.owner):
        return {}
    slates = {source: answer.rows for source, answer in answers.items()}
    return {"off_policy": measure_off_policy(slates, places, cutoffs, config.ope)}


def _random_display(
    config: Config, setting: Setting, answers: dict[str, Slates], cutoffs: Sequence[int], resamples: Resamples
) -> dict[str, Any]:
    """Quality on what chance displayed; empty where data.propensity names no column."""
    if (displayed := setting.queries.displayed) is None:
        return {}
    return measure_random_display(
        {source: answer.rows for source, answer in answers.items()},
        displayed,
        setting.queries.user_rows,
        state=setting.state if config.chain.filter_seen else None,
        eligible=setting.eligible,
        cutoffs=cutoffs,
        resamples=resamples,
    )


def _add_share_of_best(
    run: Run,
    config: Config,
    setting: Setting,
    answers: dict[str, Slates],
    columns: dict[str, Columns],
    cutoffs: Sequence[int],
) -> list[str]:
    """Add "share_of_best@k" to the columns where the truth is known; return the notes that a reader needs."""
    data, queries = run.folder("data"), setting.queries
    if (reason := why_no_truth(data, queries)) is not None:
        return [f"The share of the best possible is not stated: {reason}."]
    measured = drawn_for_truth(config, len(queries))
    num_users = len(measured)
    label = queries.facts["relevant_label"]
    shares = share_of_best(
        {source: answer.rows for source, answer in answers.items()},
        queries,
        true_probability(data, queries, setting.user_ids, setting.item_ids, label),
        measured=measured,
        state=setting.state if config.chain.filter_seen else None,
        eligible=setting.eligible,
        cutoffs=cutoffs,
    )
    for source, table in shares.items():
        columns[source] |= table
    reason = None if INFORMED in answers else why_not_informed(data, config.shop, queries)
    return [
        f"The share of the best possible is the mean over {num_users:,} users and uses the true {label} probabilities.",
        INFORMED_NOTE if reason is None else f"The informed bound is not stated: {reason}.",
        *([POLICY_SENTENCE] if queries.displayed is None else []),
    ]


def drawn_for_truth(config: Config, num_queries: int) -> NDArray[np.int64]:
    """The queries whose best possible slate is worked out, ascending; all of few."""
    num_users = min(config.evaluate.num_truth_users, num_queries)
    return np.sort(np.random.default_rng(config.evaluate.seed).choice(num_queries, num_users, replace=False))


def _ids(setting: Setting) -> tuple[NDArray, NDArray]:
    return setting.user_ids, setting.item_ids
