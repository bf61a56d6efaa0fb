"""`python -m benchmarks failures`: something breaks while a server is asked, and what came of it is counted."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
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

__all__ = ["SERVED", "Outcome", "excused", "outcomes", "theatre_of"]

T = TypeVar("T")
NUM_QUESTIONS, NUM_SENDERS, SEED = 200, 100, 0
SETTLE_S = 1.5
# What was answered this long before a process was killed may not be in the log: it is written each 50 ms, by a thread.
UNWRITTEN_S, LATER_S = 1.0, 0.5
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


class Outcome(NamedTuple):
    """What came of a failure.

    Attributes:
        failure: which.
        answered: requests that got a slate.
        errors: those that got an error instead, and requests of events that did, by kind.
        wrong: slates that are not those of the version's files.
        acknowledged: events that the server said it has.
        lost: of them, in no file afterwards.
        unlogged: answers that are not in the log.
        excused: of them, answered a second before a kill, or counted as left out.
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
    unlogged: int
    excused: int
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
        len(unlogged),
        excused(load, unlogged, stage.killed_at, mon),
        len(found) - len(set(found)),
        load.longest_pause_s,
        is_well,
        said,
    )


def _load(stage: Stage, questions: list[Question]) -> Load:
    return Load(stage.server.grpc_url, questions, stage.theatre.senders, stage.theatre.items)


def _event_ids(events: Path) -> set[str]:
    return {name.decode() for frame in read_log(events) for name in frame.events.event_id.tolist()}


def excused(load: Load, unlogged: set[str], killed_at: list[float], mon: Path) -> int:
    """How many of the answers that are not in the log need not be.

    Args:
        load: that got them.
        unlogged: their ids.
        killed_at: instants at which a process was killed.
        mon: the collected log, which counts what was left out.
    """
    soon = {name for name in unlogged for at in killed_at if at - UNWRITTEN_S <= load.answered[name] <= at + LATER_S}
    counts: dict[str, int] = read_json(mon / STATUS, {})["counts"]
    dropped = sum(number for name, number in counts.items() if name.startswith("dropped_"))
    return len(soon) + min(dropped, len(unlogged) - len(soon))


def _offline(name: str, came: Came) -> Outcome:
    return Outcome(
        name, came.answered, {}, came.wrong, 0, 0, came.missing, 0, came.twice, None, came.is_well, came.said
    )
