"""Requests of simulated days: the users and contexts of a run's test events, with weekends, and some users unknown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.signals.logged import log_rows
from ensemble.profile.ask import Answers, OpenChain, ask
from ensemble.request_columns import parsed_column
from runtime.ids import NO_ITEM, UNKNOWN
from runtime.request import Parsed
from runtime.spec import ChainSpec
from workflows.core.run import Run

__all__ = ["Pool", "days_of", "make_pool", "requests_of", "taken"]

UNKNOWN_SHARE, RECENT_SHARE = 0.08, 0.3
MOST_RECENT = 5
# Requests of a user who comes, on average; how far a day's mix of users is from another's, in logs.
REQUESTS_A_USER, JITTER = 1.3, 0.05
NUM_GROUPS = 12


@dataclass(frozen=True)
class Pool:
    """Answered requests that days are drawn from.

    Attributes:
        table: their rows of the log.
        answers: of the version's files.
        group: int64 [n], users who come at the same times.
    """

    table: pa.Table
    answers: Answers
    group: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.group)


def requests_of(run: Run, spec: ChainSpec, num: int, seed: int) -> tuple[Parsed, NDArray[np.int64]]:
    """Requests like a run's test events, and a key of the user of each.

    Args:
        run: whose data/test is drawn from.
        spec: of its chain.
        num: requests.
        seed: of the draw.
    """
    random = np.random.default_rng(seed)
    names = [column.name for column in spec.context_columns]
    events = pq.read_table(run.folder("data") / "test", columns=["user_row", "item_row", *names])
    events = events.take(pa.array(np.sort(random.choice(events.num_rows, num, replace=events.num_rows < num))))
    users = events["user_row"].to_numpy().astype(np.int64)
    is_unknown = random.random(num) < UNKNOWN_SHARE
    recent = np.full((num, MOST_RECENT), NO_ITEM, np.int32)
    lengths = np.where(random.random(num) < RECENT_SHARE, random.integers(1, MOST_RECENT + 1, num), 0)
    items = events["item_row"].to_numpy()[random.integers(0, num, (num, MOST_RECENT))]
    recent[np.arange(MOST_RECENT) < lengths[:, None]] = items[np.arange(MOST_RECENT) < lengths[:, None]]
    context = {column.name: parsed_column(column, events[column.name]) for column in spec.context_columns}
    rows = np.where(is_unknown, UNKNOWN, users).astype(np.int32)
    size = np.full(num, spec.slate_size, np.int32)
    return Parsed(rows, recent, np.empty((num, 0), np.int32), size, context), users


def make_pool(
    run: Run,
    chain: OpenChain,
    num: int,
    seed: int = 0,
    asked: Callable[[Parsed], Parsed] | None = None,
    said: Callable[[Answers], Answers] | None = None,
) -> Pool:
    """Have requests answered.

    Args:
        run: whose users come.
        chain: that answers.
        num: requests.
        seed: of the draw.
        asked: changes the requests.
        said: changes what the server says; its files give what they give.
    """
    requests, users = requests_of(run, chain.spec, num, seed)
    requests = requests if asked is None else asked(requests)
    answers = ask(chain, requests)
    table = log_rows(chain.spec, requests, answers if said is None else said(answers), users)
    return Pool(table, answers, users % NUM_GROUPS)


def days_of(pool: Pool, day: int, num: int, random: np.random.Generator, tilt: NDArray | None = None) -> NDArray:
    """Places in the pool that a day is of: int64 [about num].

    Args:
        pool: drawn from; who comes together on a day comes with all their requests.
        day: days since 1970: at weekends half of the users come one and a half times as often.
        num: requests.
        random: of the draw.
        tilt: [n], how much more often a request is drawn than on other days.
    """
    weights = np.exp(random.normal(0, JITTER, NUM_GROUPS))
    if day % 7 in (2, 3):
        weights[: NUM_GROUPS // 2] *= 1.5
    chance = weights[pool.group] * (1 if tilt is None else tilt)
    comers = random.choice(len(pool), int(num / REQUESTS_A_USER), p=chance / chance.sum())
    return np.repeat(comers, 1 + random.poisson(REQUESTS_A_USER - 1, len(comers)))


def taken(answers: Answers, at: NDArray) -> Answers:
    """Some of the answers."""
    arrays = {name: values[at] for name, values in answers.arrays.items()}
    return Answers(arrays, answers.rows[at], answers.scores[at], answers.paths[at])
