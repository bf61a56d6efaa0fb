"""`python -m benchmarks live-quality`: two trainings, replayed beside each other over the test split."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.result import Benchmark, Cell, Table, command_line, judge
from ensemble.config import Config
from ensemble.evaluation.best import share_of_best
from ensemble.evaluation.queries import Queries
from ensemble.evaluation.replay import replay_queries
from ensemble.evaluation.setting import Setting, open_setting
from ensemble.evaluation.truth import true_probability
from ensemble.export.compile import compile_chain
from models.metrics.bootstrap import Resamples, interval
from workflows.core.run import Run

__all__ = ["LONGEST", "measure_live_quality", "random_instants"]

Train = Callable[[Run, Config], None]

LONGEST = 10
METRIC = f"share_of_best@{LONGEST}"
WITH, WITHOUT, BEFORE = "with stream features", "without, live history", "without, what was known before the test split"
SUMMARY = """The chain of `{config}`, trained with and without `[features.stream]`, asked for {num_queries:,} users of
the test split, each at the instant and in the context of one of its test events drawn at random. A replay feeds the
events of the tables to the live state in their order, by the code that serves, so that a query knows every event before
it: the user's own and everybody's. Quality is the discounted sum of the true click probabilities at that instant over
that of the best possible slate, items that the user had before the test split left out of it."""


def measure_live_quality(out: Path, config: Config, config_name: str, num_queries: int, train: Train) -> Benchmark:
    """Train both, replay both.

    Args:
        out: holds a run directory for each.
        config: of the simulated shop, with stream features.
        config_name: for the page.
        num_queries: users, at most.
        train: runs every stage up to the ranker's training.
    """
    started_at = time.perf_counter()
    features = msgspec.structs.replace(config.features, stream={})
    plain = msgspec.structs.replace(config, features=features)
    settings, slates = {}, {}
    for name, each, folder in ((WITH, config, "with"), (WITHOUT, plain, "without")):
        run = Run(out / folder)
        train(run, each)
        settings[name] = open_setting(run, each)
        queries = random_instants(run, settings[name], each, num_queries)
        slates[name] = _replayed(run, each, settings[name], queries, live=True)
        if name == WITHOUT:
            slates[BEFORE] = _replayed(run, each, settings[name], queries, live=False)
    columns = _shares(Run(out / "with"), settings[WITH], queries, slates)
    resamples = Resamples(config.evaluate.num_bootstrap, config.evaluate.seed)
    of = {name: values[METRIC] for name, values in columns.items()}
    lines: list[list[Cell]] = [[name, *_estimate(values, resamples)] for name, values in of.items()]
    pairs = ((WITH, WITHOUT), (WITHOUT, BEFORE))
    gains = {f"{first} minus {second}": _estimate(of[first] - of[second], resamples) for first, second in pairs}
    differences: list[list[Cell]] = [[name, *gain] for name, gain in gains.items()]
    gained = of[WITH] - of[WITHOUT]
    lower = interval(float(gained.mean()), resamples.means(gained[:, None])[:, 0]).low
    return Benchmark(
        name="live_quality",
        title="What live events are worth",
        summary=SUMMARY.format(config=config_name, num_queries=len(queries)),
        command=command_line("live-quality", {"config": config_name, "num_queries": num_queries}),
        settings={"queries": len(queries), "measuring, s": round(time.perf_counter() - started_at)},
        figures=[
            Table("", ["chain", METRIC, "lower bound", "upper bound"], lines),
            Table("", ["difference, paired by user", "mean", "lower bound", "upper bound"], differences),
        ],
        plots=[],
        targets=[judge("with stream features minus without, lower bound", lower, ">=", 0.0)],
        notes=[],
    )


def random_instants(run: Run, setting: Setting, config: Config, most: int) -> Queries:
    """One query a user, at the instant and in the context of one of the user's test events."""
    names = ["user_row", "at", *config.data.context]
    table = pq.read_table(run.folder("data") / "test", columns=names)
    random = np.random.default_rng(config.evaluate.seed)
    order = random.permutation(len(table))
    users, first = np.unique(table["user_row"].to_numpy()[order], return_index=True)
    drawn = np.sort(random.choice(len(users), min(most, len(users)), replace=False))
    rows = order[first[drawn]]
    return Queries(
        user_rows=users[drawn].astype(np.int64),
        indptr=np.zeros(len(rows) + 1, np.int64),
        rows=np.zeros(0, np.int64),
        at=table["at"].to_numpy()[rows],
        context={name: table[name].combine_chunks().take(pa.array(rows)) for name in config.data.context},
        facts={"relevant_label": next(iter(config.data.labels))},
    )


def _replayed(run: Run, config: Config, setting: Setting, queries: Queries, *, live: bool) -> NDArray[np.int32]:
    folder = run.scratch("report")
    shutil.rmtree(folder, ignore_errors=True)
    chain = msgspec.structs.replace(config.chain, slate_size=LONGEST, max_slate_size=LONGEST)
    compile_chain(run, msgspec.structs.replace(config, chain=chain), folder / "chain", "eval", replayed=True)
    try:
        ids = (setting.user_ids, setting.item_ids)
        asked = queries if live else msgspec.structs.replace(queries, at=np.full(len(queries), queries.at.min()))
        return replay_queries(run, folder / "chain", folder / "events", asked, *ids, LONGEST)
    finally:
        shutil.rmtree(folder)


def _shares(
    run: Run, setting: Setting, queries: Queries, slates: dict[str, NDArray[np.int32]]
) -> dict[str, dict[str, NDArray[np.float64]]]:
    label = queries.facts["relevant_label"]
    return share_of_best(
        slates,
        queries,
        true_probability(run.folder("data"), queries, setting.user_ids, setting.item_ids, label),
        measured=np.arange(len(queries)),
        state=setting.state,
        eligible=setting.eligible,
        cutoffs=[LONGEST],
    )


def _estimate(values: NDArray[np.float64], resamples: Resamples) -> list[Cell]:
    """Mean over users, and its interval."""
    found = interval(float(values.mean()), resamples.means(values[:, None])[:, 0])
    return [found.value, found.low, found.high]
