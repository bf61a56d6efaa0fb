"""Everybody who is asked: the baselines, retrieval alone and the chain, with the same queries and rules."""

from __future__ import annotations

import shutil
import time

import msgspec
import numpy as np
from numpy.typing import NDArray

from ensemble.config import Config
from ensemble.evaluation.chain_source import ask_chain
from ensemble.evaluation.measure import Slates
from ensemble.evaluation.queries import Queries, load_queries, read_segment
from ensemble.export.compile import compile_chain
from ensemble.export.eligibility import eligible_items
from models.baselines.base import Baseline
from models.baselines.fitted import PeerRecord, fitted_baselines, interaction_matrix
from models.data import State, load_state
from workflows.core import console
from workflows.core.run import Run

__all__ = ["Setting", "ask_all", "open_setting"]

CHUNK_USERS = 1_000


class Setting(msgspec.Struct, frozen=True):
    """What every source is asked with.

    Attributes:
        queries: the Q queries.
        state: what is known before the test split.
        eligible: bool [N], in stock and allowed by the rules.
        user_ids, item_ids: raw ids by row.
        segments: column of the users table -> its values as text, by user_row.
    """

    queries: Queries
    state: State
    eligible: NDArray[np.bool_]
    user_ids: NDArray
    item_ids: NDArray
    segments: dict[str, NDArray] = {}


def ask_all(run: Run, config: Config, setting: Setting) -> tuple[dict[str, Slates], dict[str, PeerRecord]]:
    """Slates of max(cutoffs) items from the baselines, retrieval alone and the chain, in this order, by name.

    Returns:
        The slates, and how each baseline was tuned, or why it is not among the sources.
    """
    answers: dict[str, Slates] = {}
    records = {}
    settings, segment = config.evaluate, next(iter(setting.segments.values()), None)
    for name, model, record in fitted_baselines(run, settings.peers, settings.knn_neighbours, settings.seed, segment):
        records[name] = record
        if model is not None:
            answers[name] = _ask_baseline(model, config, setting)
    return answers | {answer.source: answer for answer in _chain(run, config, setting)}, records


def open_setting(run: Run, config: Config) -> Setting:
    """Read what every source is asked with.

    Raises:
        DataError: no test user has a relevant item, or there is no such column of users.
    """
    data = run.folder("data")
    state = load_state(run, "eval")
    user_ids, item_ids = (np.load(data / "ids" / f"{side}.npy", allow_pickle=False) for side in ("users", "items"))
    eligible = eligible_items(data / "items.parquet", config)
    segments = {column: read_segment(data / "users.parquet", column) for column in config.evaluate.segments}
    return Setting(load_queries(run, config, state), state, eligible, user_ids, item_ids, segments)


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


def _chain(run: Run, config: Config, setting: Setting) -> tuple[Slates, Slates]:
    """The same compiled chain that serving uses, with the state before the test split and slates as long as K."""
    longest = max(config.evaluate.cutoffs)
    chain = msgspec.structs.replace(config.chain, slate_size=longest, max_slate_size=longest)
    folder = run.scratch("report") / "chain"
    shutil.rmtree(folder, ignore_errors=True)
    compile_chain(run, msgspec.structs.replace(config, chain=chain), folder, "eval")
    return ask_chain(folder, setting.queries, setting.user_ids, setting.item_ids, longest)
