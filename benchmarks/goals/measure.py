"""`python -m benchmarks goals`: a ranker of several tasks beside one of the click alone, judged by the shop's truth."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.goals.truth import Judge
from benchmarks.live.quality import random_instants
from benchmarks.result import Benchmark, Cell, Table, command_line, judge
from ensemble.config import Config
from ensemble.evaluation.chain_source import query_chain
from ensemble.evaluation.queries import Queries
from ensemble.evaluation.setting import Setting, open_setting
from ensemble.export.compile import compile_chain
from models.metrics.bootstrap import Resamples, interval
from models.metrics.classification import auc
from models.ranking.scores import ranking_scores, task_scores
from workflows.core.run import Run

__all__ = ["measure_goals", "slates_of", "warm_queries"]

Train = Callable[[Run, Config], None]
Floats = NDArray[np.float64]

LONGEST = 10
STAGES = ("data", "features", "retrieval", "neighbours", "sources", "index")
BY_UTILITY, BY_CLICK, ALONE = (
    "several tasks, by utility",
    "several tasks, by click",
    "the click alone, by click",
)
BEST_UTILITY, BEST_CLICK = "best possible by true utility", "best possible by true click"
SUMMARY = """The chain of `{config}`, asked for {num_queries:,} users of the test split whose past is known, each at the
instant and in the context of one of its test events drawn at random. Slates of {longest} are judged by the shop's own
probabilities: what they earn on average, by the formula of `[shop.returns]`. The same ranker orders by utility and by
click; a second one has learnt the click alone, over the same retrieval. The best possible slates are ordered by the
truth, over all items on sale."""


def measure_goals(out: Path, config: Config, config_name: str, num_queries: int, train: Train) -> Benchmark:
    """Train both, ask both.

    Args:
        out: holds a run directory for each.
        config: of the simulated shop with returns, with tasks and a utility.
        config_name: for the page.
        num_queries: users, at most.
        train: runs every stage up to the ranker's training.
    """
    started_at = time.perf_counter()
    clicks = _ordered(config, "")
    alone = msgspec.structs.replace(clicks, ranking=msgspec.structs.replace(config.ranking, tasks={}))
    several, single = Run(out / "several"), Run(out / "alone")
    train(several, config)
    _share_stages(several, single)
    train(single, alone)
    setting = open_setting(several, config)
    queries = warm_queries(random_instants(several, setting, config, num_queries), setting)
    found = {
        BY_UTILITY: slates_of(several, config, setting, queries, LONGEST),
        BY_CLICK: slates_of(several, clicks, setting, queries, LONGEST),
        ALONE: slates_of(single, alone, setting, queries, LONGEST),
    }
    judged = Judge(config.shop, queries, setting)
    found |= {BEST_UTILITY: judged.best("utility", LONGEST), BEST_CLICK: judged.best("click", LONGEST)}
    made = {name: judged.expected(slates) for name, slates in found.items()}
    resamples = Resamples(config.evaluate.num_bootstrap, config.evaluate.seed)
    gains: list[list[Cell]] = [
        [name, other, *_ratio(made[name]["utility"], made[other]["utility"], resamples)]
        for name, other in ((BY_UTILITY, BY_CLICK), (BY_UTILITY, ALONE), (BEST_UTILITY, BEST_CLICK))
    ]
    tasks = _tasks(several, judged)
    click_auc = [auc(labels, chances) for _, labels, chances in (ranking_scores(r, "test") for r in (several, single))]
    share = [row[3] for row in gains]
    return Benchmark(
        name="goals",
        title="What slates in the order of what they earn are worth",
        summary=SUMMARY.format(config=config_name, num_queries=len(queries), longest=LONGEST),
        command=command_line("goals", {"config": config_name, "num_queries": num_queries}),
        settings={"queries": len(queries), "seconds": round(time.perf_counter() - started_at)},
        figures=[
            Table(
                "Expected per slate",
                ["slates", "utility", "clicks", "purchases", "kept"],
                [[name, *(float(values.mean()) for values in columns.values())] for name, columns in made.items()],
            ),
            Table("Utility against", ["slates", "against", "ratio - 1", "lower bound", "upper bound"], gains),
            Table(
                "Tasks on the displays of the test split",
                ["task", "predicted, mean", "true, mean", "predicted / true", "AUC"],
                tasks,
            ),
            Table(
                "AUC of the click on the test split",
                ["ranker", "AUC"],
                [["several tasks", click_auc[0]], ["the click alone", click_auc[1]]],
            ),
        ],
        plots=[],
        targets=[
            judge("utility by utility over by click, same ranker, ratio - 1", float(gains[0][2] or 0), ">=", 0.15),
            judge("the same, lower bound", float(share[0] or 0), ">=", 0.0),
            judge("AUC of the click: alone minus several tasks", click_auc[1] - click_auc[0], "<=", 0.002),
            *(
                judge(f"calibration of {name}: |predicted / true - 1|", abs(float(ratio or 0) - 1), "<=", 0.05)
                for name, _, _, ratio, _ in tasks
            ),
        ],
        notes=[],
    )


def _ordered(config: Config, utility: str) -> Config:
    order = msgspec.structs.replace(config.chain.order, utility=utility)
    return msgspec.structs.replace(config, chain=msgspec.structs.replace(config.chain, order=order))


def _share_stages(done: Run, other: Run) -> None:
    """Copy the stages before the ranker, which do not depend on it."""
    for stage in STAGES:
        if not other.folder(stage).exists():
            shutil.copytree(done.folder(stage), other.folder(stage))


def warm_queries(queries: Queries, setting: Setting) -> Queries:
    """The users who had seen something before the test split."""
    kept = np.flatnonzero([len(setting.state.seen(int(row))) > 0 for row in queries.user_rows])
    context = {name: values.take(kept) for name, values in queries.context.items()}
    return msgspec.structs.replace(
        queries,
        user_rows=queries.user_rows[kept],
        indptr=np.zeros(len(kept) + 1, np.int64),
        at=queries.at[kept],
        context=context,
    )


def slates_of(run: Run, config: Config, setting: Setting, queries: Queries, size: int) -> NDArray[np.int32]:
    """Item rows of the slates that the chain of a config gives, [Q, size]."""
    folder = run.scratch("report")
    shutil.rmtree(folder, ignore_errors=True)
    chain = msgspec.structs.replace(config.chain, slate_size=size, max_slate_size=size)
    compile_chain(run, msgspec.structs.replace(config, chain=chain), folder / "chain", "eval")
    try:
        return query_chain(folder / "chain", queries, setting.user_ids, setting.item_ids, size)[-1].rows
    finally:
        shutil.rmtree(folder)


def _ratio(first: Floats, second: Floats, resamples: Resamples) -> list[Cell]:
    """Ratio of the sums minus 1, and its interval over users."""
    means = resamples.means(np.stack([first, second], axis=1))
    gains: Floats = means[:, 0] / means[:, 1] - 1.0
    found = interval(float(first.sum() / second.sum() - 1), gains)
    return [found.value, found.low, found.high]


def _tasks(run: Run, judged: Judge) -> list[list[Cell]]:
    """Of each task, what is predicted beside the true probability of the same displays."""
    names, labels, chances = task_scores(run, "test")
    truth = judged.displays(run)
    rows: list[list[Cell]] = []
    for place, name in enumerate(names):
        predicted, true = float(chances[:, place].mean()), float(truth[:, place].mean())
        known = np.isfinite(labels[:, place])
        seen = labels[known, place]
        rank = float(auc(seen, chances[known, place])) if 0 < seen.sum() < len(seen) else None
        rows.append([name, predicted, true, predicted / true, rank])
    return rows
