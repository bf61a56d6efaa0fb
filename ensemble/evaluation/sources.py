"""The sources that are compared, with the same queries and rules: baselines, retrieval, the chain, informed bound."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from ensemble.config import Config
from ensemble.evaluation.chain_source import check_measurable, query_chain
from ensemble.evaluation.informed import ask_informed, why_not_informed
from ensemble.evaluation.measure import Slates
from ensemble.evaluation.replay import Replay
from ensemble.evaluation.setting import Setting
from ensemble.evaluation.tables import INFORMED
from ensemble.export.compile import compile_chain, with_what_is_learnt
from models.baselines.base import Baseline
from models.baselines.fitted import BaselineRecord, fitted_baselines, interaction_matrix
from models.sources.meta import SourcesMeta
from models.sources.own import source_step
from runtime.sources.base import Source
from runtime.spec import ChainSpec
from runtime.stream.live import at_instant, events_in
from workflows.core import console
from workflows.core.run import Run

__all__ = ["ask_all"]

CHUNK_USERS = 1_000


def ask_all(run: Run, config: Config, setting: Setting) -> tuple[dict[str, Slates], dict[str, BaselineRecord]]:
    """Slates of max(cutoffs) items from the baselines, retrieval alone, the chain and, on the simulated shop, the
    informed bound, in this order, by name.

    Returns:
        The slates, and how each baseline was tuned, or why it is not among the sources.
    """
    answers: dict[str, Slates] = {}
    records = {}
    # First: a graph that cannot be measured is refused before the baselines take their time.
    chain, further = _compiled(run, config)
    settings, segment = config.evaluate, next(iter(setting.segments.values()), None)
    for name, model, record in fitted_baselines(
        run, settings.baselines, settings.knn_neighbours, settings.seed, segment
    ):
        records[name] = record
        if model is not None:
            answers[name] = _ask_baseline(model, config, setting)
    data, longest = run.folder("data"), max(settings.cutoffs)
    with _live_before_test(run, chain, setting):
        slates = query_chain(chain, setting.queries, setting.user_ids, setting.item_ids, longest, further)
    answers |= {answer.source: answer for answer in slates}
    if why_not_informed(data, config.shop, setting.queries) is None:
        filter_seen = config.chain.filter_seen
        answers[INFORMED] = ask_informed(data, config.shop, setting, filter_seen=filter_seen, longest=longest)
    return answers, records


@contextmanager
def _live_before_test(run: Run, chain: Path, setting: Setting) -> Iterator[None]:
    """Where the chain reads a live state: one that knows every event before the test split, at its beginning."""
    if ChainSpec.load(chain).live is None:
        yield
        return
    folder = run.scratch("report") / "events"
    shutil.rmtree(folder, ignore_errors=True)
    first = int(setting.queries.at.min()) if len(setting.queries) else 0
    replay = Replay(run, chain, folder)
    try:
        with events_in(folder), at_instant(first):
            yield
    finally:
        replay.close()
        shutil.rmtree(folder)


def _ask_baseline(model: Baseline, config: Config, setting: Setting) -> Slates:
    users, longest = setting.queries.user_rows, max(config.evaluate.cutoffs)
    seen = interaction_matrix(setting.state) if config.chain.filter_seen else None
    parts = []
    started_at = time.perf_counter()
    with console.progress(f"evaluate: asking {model.name}", len(users), "users") as bar:
        for start in range(0, len(users), CHUNK_USERS):
            part = users[start : start + CHUNK_USERS]
            parts.append(model.recommend(part, longest, eligible=setting.eligible, seen=seen))
            bar.advance(bar.task_ids[0], len(part))
    rows, scores = (np.concatenate(pieces) for pieces in zip(*parts, strict=True))
    return Slates(model.name, rows, scores, time.perf_counter() - started_at)


def _compiled(run: Run, config: Config) -> tuple[Path, list[Source]]:
    """The chain that serving uses, with the state before the test split and slates as long as K; sources beside it."""
    longest = max(config.evaluate.cutoffs)
    folder = run.scratch("report") / "chain"
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # From slates as they are served, not from longer ones.
    config = with_what_is_learnt(run, config, folder.parent)
    chain = msgspec.structs.replace(config.chain, slate_size=longest, max_slate_size=longest)
    further = list(_not_served(run))
    compile_chain(run, msgspec.structs.replace(config, chain=chain), folder, "eval", further)
    check_measurable(folder, config.chain.graph, further)
    return folder, further


def _not_served(run: Run) -> Iterator[Source]:
    """The sources that were fitted and have no place; popularity is a baseline already."""
    for name, record in SourcesMeta.load(run.folder("sources")).sources.items():
        if record.skipped is None and not record.is_served and name != "popularity":
            yield source_step(name, record.step)
