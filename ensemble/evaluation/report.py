"""Writes report/metrics.json and report/index.html, and prints the short table."""

from __future__ import annotations

import datetime
import platform
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from ensemble.config import Config
from ensemble.evaluation.console_table import console_tables
from ensemble.evaluation.examples import example_users
from ensemble.evaluation.measure import Slates
from ensemble.evaluation.metrics_file import read_metrics
from ensemble.evaluation.queries import Queries
from ensemble.evaluation.tables import LABELS, was_displayed_by_chance
from ensemble.evaluation.verdict import POLICY_SENTENCE, headline, losses_sentence, order_sentence, outside_sentence
from models.dataset.features import State
from workflows.core import console
from workflows.core.artefacts import read_manifest
from workflows.core.errors import ArtefactError
from workflows.core.run import Run

__all__ = ["print_summary", "write_report"]

TRAINED = {"retrieval": "Training of the two towers", "ranking": "Training of the ranker"}


def write_report(
    run: Run,
    config: Config,
    folder: Path,
    metrics: dict[str, Any],
    queries: Queries,
    state: State,
    chain: Slates,
    ids: tuple[NDArray, NDArray],
) -> None:
    """Write the numbers and the page.

    Args:
        run: for training histories, items and manifests.
        config: of the run.
        folder: where to write.
        metrics: the content of metrics.json.
        queries: the Q queries.
        state: what was known of the users.
        chain: the chain's slates.
        ids: raw user and item ids by row.
    """
    from ensemble.evaluation.page import render

    (folder / "metrics.json").write_bytes(msgspec.json.format(msgspec.json.encode(metrics), indent=1))
    page = render(
        metrics,
        histories={title: _history(run.folder(stage) / "history.json") for stage, title in TRAINED.items()},
        examples=example_users(run.folder("data") / "items.parquet", config, queries, state, chain, ids),
        facts=_facts(run, config, metrics),
    )
    (folder / "index.html").write_text(page, encoding="utf-8")
    _say(metrics)


def print_summary(root: Path) -> None:
    """Print the short table of a finished report and where its page is.

    Args:
        root: the run directory.

    Raises:
        ArtefactError: evaluate has not finished.
    """
    folder = Run(root).require("report")
    _say(read_metrics(folder))
    console.say(f"report: {folder / 'index.html'}")


def _say(metrics: dict[str, Any]) -> None:
    """The short tables, and what could not be measured or should not be overlooked."""
    unmeasured = metrics.get("unmeasured")
    if unmeasured is None:
        if told := headline(metrics):
            console.say(f"evaluate: {told}")
        first, *others = console_tables(metrics)
        console.err.print(first)
        if order := order_sentence(metrics):
            console.say(f"evaluate: {order}")
        for table in others:
            console.err.print(table)
        if was_displayed_by_chance(metrics):
            console.say(f"evaluate: {POLICY_SENTENCE}")
        if lost := losses_sentence(metrics):
            console.say(f"evaluate: {lost}")
    num_eligible, longest = metrics["data"]["num_eligible_items"], max(metrics["cutoffs"])
    if unmeasured is None and num_eligible <= longest:
        console.say(
            f"evaluate: a slate of {longest} holds all {num_eligible:,} items that may be shown, whatever the source: "
            "recall there says nothing; lower evaluate.cutoffs"
        )
    ranker = metrics["ranker"]
    for sentence in (unmeasured, outside_sentence(metrics), ranker.get("skipped"), ranker.get("warning")):
        if sentence:
            console.say(f"evaluate: {sentence}")


def _history(path: Path) -> list[dict[str, Any]]:
    """What training wrote down an epoch; nothing where it kept no record."""
    if not path.is_file():
        return []
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[dict[str, Any]])
    except msgspec.DecodeError as error:
        raise ArtefactError(f"{path} cannot be read ({error}); run its stage again with --force") from None


def _facts(run: Run, config: Config, metrics: dict[str, Any]) -> dict[str, str]:
    data, index = metrics["data"], metrics["index"]
    facts = {
        "Measured": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "Catalogue": f"{data['num_items']:,} items, {data['num_eligible_items']:,} of them eligible",
        "Users": f"{data['num_users']:,} known, {data['num_users_with_relevant_items']:,} with a relevant test item, "
        f"{data['num_users_measured']:,} measured",
        "Test split": f"{data['num_test_events']:,} events, {data['num_positive_test_events']:,} positive"
        + (f" ({data['relevant_label']} = 1)" if data["relevant_label"] else " (every event is)"),
        "Relevant": f"{data['num_relevant']:,} user-item pairs; left out as had before: "
        f"{data['num_repeated_pairs_left_out']:,}, outside the catalogue: "
        f"{data['num_positive_events_outside_catalogue']:,} events",
        "Index": f"{index.get('kind')}, index recall at {index.get('recall_cutoff')}: {index.get('index_recall_at_k')}",
        "Chain": f"{config.chain.num_candidates} candidates ranked per user",
        "Time": "; ".join(
            f"{LABELS.get(s, s)} {seconds:.1f} s ({metrics['users_per_second'][s]:,.0f} users/s)"
            for s, seconds in metrics["seconds"].items()
        ),
        "Intervals": f"95%, {config.evaluate.num_bootstrap} resamples of users, seed {config.evaluate.seed}",
        "Python": platform.python_version(),
    }
    versions = read_manifest(run.folder("ranking")).versions
    return facts | ({"Versions": ", ".join(f"{name} {v}" for name, v in versions.items())} if versions else {})
