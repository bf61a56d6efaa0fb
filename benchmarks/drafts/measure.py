"""`python -m benchmarks drafts`: a version alone, and a slate drafted of it and another, in turn on one server."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.result import Benchmark, Cell, Table, command_line, judge
from cascade_client import CascadeClient
from ensemble.config import Config
from ensemble.config_experiments import ExperimentConfig, VariantConfig
from ensemble.publish import publish
from ensemble.serving.repository import served_file
from ensemble.serving.triton import TritonServer
from operations.experiments.record import read_record
from operations.experiments.release import Servers, start
from runtime.drafts.spec import BOTH
from runtime.interleave import interleave, seed_of
from workflows.core import console
from workflows.core.errors import ArtefactError
from workflows.core.run import Run

__all__ = ["Settings", "drafting_us", "measure_drafts", "result_of"]

NAME, ALONE, SIZE, BATCH = "drafts", "one version", 20, 32
TARGET = 2.0
BUSY = "More programs than cores ran on the machine, which makes every figure larger: compare them with each other."
SUMMARY = """A user of an experiment that interleaves is given a slate of two versions, which a third model of the same
server drafts: it asks both at once. *Through Triton*: requests over gRPC, one client, to what is served, to the other
version and to the model that drafts, in turn, of the same users. The other version is a copy of the served one, so
each costs the same; on two cores both are asked at the same time. Users of no experiment are asked of what is served,
as before there was one. *The draft alone*: two orders of {size} items in this process."""
Took = Mapping[str, NDArray[np.float64]]


class Settings(NamedTuple):
    """How much is measured; see the options of the command."""

    users: int
    rounds: int


def measure_drafts(run: Run, settings: Settings) -> Benchmark:
    """Measure on an exported run.

    Args:
        run: with the layout `fused`.
        settings: how much.

    Raises:
        ArtefactError: there is no such export.
    """
    started_at, load = time.perf_counter(), os.getloadavg()[0]
    variants = VariantConfig(name="old"), VariantConfig(name="new", run=str(run.root))
    wanted = ExperimentConfig(variants=variants, kind="interleave", stages=(1.0,))
    with ExitStack() as stack:
        target = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="drafts-", dir=run.root))) / "published"
        publish(run, Config(), target, "fused")
        ids = served_file(target, "ids/users.npy")
        if ids is None:
            raise ArtefactError(f"{run.root} has no ids of users; run cascade export again")
        users = [each.decode() if isinstance(each, bytes) else each for each in np.load(ids)[: settings.users].tolist()]
        server = stack.enter_context(TritonServer(target))
        servers = Servers([server.grpc_url], server.admin_key, drain_s=0.0)
        start(Config(experiments={NAME: wanted}), NAME, target, "fused", servers)
        sides = {side.name: side.model for side in read_record(target).find(NAME).variants}
        models = {ALONE: "cascade", "the other": sides["new"], "a draft of both": sides[BOTH]}
        clients = {
            name: stack.enter_context(CascadeClient(server.grpc_url, model=each)) for name, each in models.items()
        }
        console.say("benchmark: through Triton")
        took = {size: _in_turn(clients, users, size, settings.rounds) for size in (1, BATCH)}
    return result_of(settings, (load, time.perf_counter() - started_at), took, drafting_us(settings.users))


def _in_turn(clients: Mapping[str, CascadeClient], users: list, size: int, rounds: int) -> Took:
    """Milliseconds of each request, by what was asked."""
    took: dict[str, list[float]] = {name: [] for name in clients}
    for number in range(rounds + 1):
        for first in range(0, len(users) - size + 1, size):
            for name, client in clients.items():
                before = time.perf_counter()
                client.recommend(users[first : first + size])
                if number:  # the first round warms
                    took[name].append((time.perf_counter() - before) * 1e3)
    return {name: np.array(each) for name, each in took.items()}


def drafting_us(number: int) -> dict[str, float]:
    """Microseconds of a core to draft one slate, the median, by how much two orders differ."""
    rng, found = np.random.default_rng(0), {}
    for name, moved in (("equal", 0), ("half of the places", SIZE // 2), ("every place", SIZE)):
        took = []
        for draw in range(number):
            first = rng.permutation(10 * SIZE)[:SIZE].tolist()
            second = [*first[: SIZE - moved], *rng.permutation(range(10 * SIZE, 20 * SIZE))[:moved].tolist()]
            before = time.thread_time()
            interleave(first, second, SIZE, seed_of("salt", str(draw), "request"))
            took.append(time.thread_time() - before)
        found[name] = float(np.median(took)) * 1e6
    return found


def result_of(
    settings: Settings, load_and_seconds: tuple[float, float], took: Mapping[int, Took], alone_us: Mapping[str, float]
) -> Benchmark:
    """The figures and what was promised.

    Args:
        settings: how much was measured.
        load_and_seconds: of the machine before, and how long it took.
        took: users of a request -> milliseconds by what was asked.
        alone_us: see `drafting_us`.
    """
    rows: list[list[Cell]] = []
    growth = {}
    for size, each in took.items():
        for name, times in each.items():
            growth[name, size] = float(np.median(times) / np.median(each[ALONE]))
            middle, slow = np.quantile(times, (0.5, 0.95)).tolist()
            rows.append([name, size, middle, slow, growth[name, size]])
    columns = ["asked", "users a request", "p50, ms", "p95, ms", "p50 by that of one version"]
    draft = list(next(iter(took.values())))[-1]
    return Benchmark(
        name="drafts",
        title="A slate of two versions",
        summary=SUMMARY.format(size=SIZE),
        command=command_line("drafts", settings._asdict()),
        settings={
            **settings._asdict(),
            "load of the machine before": round(load_and_seconds[0], 1),
            "measuring, s": round(load_and_seconds[1]),
        },
        figures=[
            Table("Through Triton", columns, rows),
            Table("The draft alone", ["orders differ at", "us of a core"], [[*pair] for pair in alone_us.items()]),
        ],
        targets=[judge("p50 of a drafted slate by that of one version, one user", growth[draft, 1], "<=", TARGET)],
        notes=[BUSY] if load_and_seconds[0] > len(os.sched_getaffinity(0)) else [],
    )
