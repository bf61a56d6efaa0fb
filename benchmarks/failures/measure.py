"""`python -m benchmarks failures`: something breaks while a server is asked, and what came of it is counted."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from benchmarks.failures.kills import (
    end_by_a_shape,
    fill_disk,
    kill_models,
    kill_publisher,
    kill_server,
    small_disk,
)
from benchmarks.failures.load import Load, Question, questions_of
from benchmarks.failures.offline import OFFLINE, Came, rows_in
from benchmarks.failures.stage import LAYOUT, Stage, Theatre, staged
from benchmarks.failures.versions import DAMAGES
from benchmarks.failures.wire import ask_slowly, ask_too_much, connect_often
from ensemble.config import Config
from ensemble.serving.repository import takes_events
from operations.folder import STATUS, read_json
from operations.log.collect import collect
from runtime.stream.log.reader import read_log
from workflows.core import console
from workflows.core.run import Run

__all__ = ["SERVED", "Missing", "Outcome", "missing", "outcomes", "theatre_of"]

T = TypeVar("T")
NUM_QUESTIONS, NUM_SENDERS, SEED = 200, 100, 0
SETTLE_S = 1.5
# An answer may arrive this long after the process that gave it was killed.
LATER_S = 0.5
STRANGERS = "users whom the chain does not know alone"


def _watch(stage: Stage) -> str:
    time.sleep(SETTLE_S)
    return "nothing is broken"


SERVED: dict[str, Callable[[Stage], str]] = {
    "nothing": _watch,
    "kill -9 of tritonserver": kill_server,
    "kill -9 of the models' processes": kill_models,
    "a request that ends Triton": end_by_a_shape,
    "kill -9 of a publication": kill_publisher,
    "a full disk": fill_disk,
    **DAMAGES,
    "oversize requests": ask_too_much,
    "slow clients": ask_slowly,
    "10,000 connections": connect_often,
    STRANGERS: _watch,
}


class Missing(NamedTuple):
    """Answers that are not in the log.

    Attributes:
        at_ends: that whatever ended a process took with it.
        reach_ms: how long before such an end the earliest of them was answered.
        left_out: that the log counts as left out.
        unexplained: the others.
    """

    at_ends: int = 0
    reach_ms: float = 0.0
    left_out: int = 0
    unexplained: int = 0


class Outcome(NamedTuple):
    """What came of a failure.

    Attributes:
        failure: which.
        answered: requests that got a slate.
        errors: those that got an error instead, and requests of events that did, by kind.
        wrong: slates that are not those of the version's files.
        acknowledged: events that the server said it has.
        lost: of them, in no file afterwards.
        missing: answers that are not in the log.
        twice: rows of the log that are there already.
        pause_s: the longest time without an answer; None: nothing was served.
        is_well: whether all is answered in the end.
        said: in words.
    """

    failure: str
    answered: int
    errors: dict[str, int]
    wrong: int
    acknowledged: int
    lost: int
    missing: Missing
    twice: int
    pause_s: float | None
    is_well: bool
    said: str


def theatre_of(run: Run, config: Config, config_path: Path) -> Theatre:
    """The requests and events of every failure.

    Args:
        run: exported.
        config: of it.
        config_path: its file.
    """
    repository = run.require("repo") / LAYOUT
    chain = repository / "cascade/1/chain"
    questions = questions_of(run, chain, NUM_QUESTIONS, SEED)
    strangers = questions_of(run, chain, NUM_QUESTIONS, SEED, is_unknown=True)
    users, items = (np.load(chain / f"ids/{name}.npy", allow_pickle=False) for name in ("users", "items"))
    ask = {question.user for question in questions}
    plain = [value.decode() if isinstance(value, bytes) else value for value in users.tolist()]
    senders = [user for user in plain if user not in ask][:NUM_SENDERS] if takes_events(repository) else []
    named = [value.decode() if isinstance(value, bytes) else value for value in items.tolist()]
    return Theatre(run, config, config_path, questions, strangers, senders, named)


def outcomes(theatre: Theatre, only: str = "") -> Iterator[Outcome]:
    """Have each thing happen, on a server or without one.

    Args:
        theatre: what is served and asked.
        only: what a name must hold.
    """
    for name, do in _named(SERVED, only):
        console.say(f"failures: {name}")
        with tempfile.TemporaryDirectory(prefix="benchmark-failures-", dir=theatre.run.root) as scratch:
            yield _served(theatre, name, do, Path(scratch))
    for name, happens in _named(OFFLINE, only):
        console.say(f"failures: {name}")
        with tempfile.TemporaryDirectory(prefix="benchmark-failures-", dir=theatre.run.root) as scratch:
            yield _offline(name, happens(theatre, Path(scratch)))


def _named(found: Mapping[str, T], only: str) -> Iterator[tuple[str, T]]:
    return ((name, value) for name, value in found.items() if only in name)


def _served(theatre: Theatre, name: str, do: Callable[[Stage], str], scratch: Path) -> Outcome:
    questions = theatre.strangers if name == STRANGERS else theatre.questions
    disk, mon = scratch / "disk", scratch / "MON"
    with ExitStack() as stack:
        if do is fill_disk:
            stack.enter_context(small_disk(disk))
        with staged(theatre, scratch, disk) as stage, _load(stage, questions) as load:
            stage.load = load
            time.sleep(SETTLE_S)
            said = do(stage)
            is_well = stage.is_well()
            time.sleep(SETTLE_S)
        collect(disk / "LOG", mon)
        kept = _event_ids(disk / "events") if load.acknowledged else set()
    found = rows_in(mon)["request_id"].to_pylist()
    unlogged = load.answered.keys() - set(found)
    return Outcome(
        name,
        len(load.answered),
        dict(load.failed),
        len(load.wrong),
        len(load.acknowledged),
        len(load.acknowledged - kept),
        missing(load, unlogged, stage.killed_at, mon),
        len(found) - len(set(found)),
        load.longest_pause_s,
        is_well,
        said,
    )


def _load(stage: Stage, questions: list[Question]) -> Load:
    return Load(stage.server.grpc_url, questions, stage.theatre.senders, stage.theatre.items)


def _event_ids(events: Path) -> set[str]:
    return {name.decode() for frame in read_log(events) for name in frame.events.event_id.tolist()}


def missing(load: Load, unlogged: set[str], killed_at: Sequence[float], mon: Path) -> Missing:
    """Why answers are not in the log.

    Args:
        load: that got them.
        unlogged: their ids.
        killed_at: instants at which a process was killed.
        mon: the collected log, which counts what was left out.
    """
    counts: dict[str, int] = read_json(mon / STATUS, {})["counts"]
    dropped = sum(number for name, number in counts.items() if name.startswith("dropped_"))
    # Before the first end that came after; seconds, negative ones of answers that were on their way.
    before = [at - load.answered[name] for name in unlogged for at in _next_end(killed_at, load.answered[name])]
    without_end = len(unlogged) - len(before)
    left_out = min(dropped, without_end)
    return Missing(len(before), 1000 * max(before, default=0.0), left_out, without_end - left_out)


def _next_end(killed_at: Sequence[float], answered_at: float) -> list[float]:
    """The first end after an answer; none where there is none."""
    return sorted(at for at in killed_at if answered_at <= at + LATER_S)[:1]


def _offline(name: str, came: Came) -> Outcome:
    return Outcome(
        name,
        came.answered,
        {},
        came.wrong,
        0,
        0,
        Missing(unexplained=came.missing),
        came.twice,
        None,
        came.is_well,
        came.said,
    )
