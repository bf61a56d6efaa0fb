"""`python -m benchmarks slates`: slates of a run into an LMDB cache, made anew after clicks, and read."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.result import Benchmark, Cell, Table, Target, command_line, judge
from benchmarks.slates.building import Built, measure_building
from benchmarks.slates.following import measure_following
from cascade_client import SlateCache
from ensemble.serving.repository import find_repository, takes_events
from ensemble.serving.triton import TritonServer
from runtime.spec import ChainSpec
from workflows.core import console
from workflows.core.errors import ConfigError
from workflows.core.run import Run

__all__ = ["Settings", "measure_slates", "tables_of", "targets_of"]

SLATES_AN_ENTRY = 3
SUMMARY = """The slates of all {num_users:,} users, {num_items} items each, of a catalogue of {num_catalogue:,}, into a
cache in LMDB. *Built*: `cascade slates build` through a real Triton on the same cores, 32 users in a request, 8
requests at once; beside it, in turn, the same server asked for the same slates by a client that decodes and keeps
nothing: the chain's own limit. *Made anew*: {rate} users a second click once each while `cascade slates refresh
--follow` runs; from the acknowledgement of a click to the slate in the cache that knows it. *Read*:
`SlateCache.recommend` of one user at a time, with the filters of live events, in one process."""


class Settings(NamedTuple):
    """How much is measured; see the options of the command."""

    rounds: int
    seconds: float
    rate: int
    clicking: float
    reads: int


def measure_slates(run: Run, settings: Settings) -> Benchmark:
    """Measure everything on an exported run.

    Args:
        run: whose export takes in live events.
        settings: how much.

    Raises:
        ConfigError: the export takes in no live events.
    """
    started_at, load = time.perf_counter(), os.getloadavg()[0]
    repository = find_repository(run.root)
    if not takes_events(repository):
        raise ConfigError(
            f"benchmark slates: {repository} takes no events; add [stream] to the config and export again"
        )
    spec = ChainSpec.load(next(repository.glob("cascade/1/**/chain.json")).parent)
    ids: dict[str, NDArray] = {s: np.load(run.folder("data") / "ids" / f"{s}s.npy") for s in ("user", "item")}
    num_items = min(SLATES_AN_ENTRY * spec.slate_size, spec.max_slate_size)
    with tempfile.TemporaryDirectory(prefix="benchmark-slates-", dir=run.root) as scratch:
        events, cache = Path(scratch) / "events", f"lmdb:{scratch}/cache"
        events.joinpath("log").mkdir(parents=True)
        with TritonServer(repository, events=events) as server:
            built = measure_building(
                run.root, server, events, cache, ids["user"], num_items, settings.rounds, settings.seconds
            )
            console.say(f"benchmark: {settings.rate} users a second click for {settings.clicking:g} s")
            waits_s = measure_following(run.root, server, events, cache, ids, settings.rate, settings.clicking)
            read_ms = _read(cache, events, ids["user"], settings.reads)
    sizes = {"num_users": len(ids["user"]), "num_items": num_items, "num_catalogue": len(ids["item"])}
    return Benchmark(
        name="slates",
        title="Slates in a cache",
        summary=SUMMARY.format(**sizes, rate=settings.rate),
        command=command_line("slates", settings._asdict()),
        settings={
            **sizes,
            **settings._asdict(),
            "load of the machine before": round(load, 1),
            "measuring, s": round(time.perf_counter() - started_at),
        },
        figures=tables_of(built, waits_s, read_ms),
        targets=targets_of(built, waits_s, read_ms),
    )


def _read(cache: str, events: Path, users: NDArray, reads: int) -> NDArray[np.float64]:
    """Milliseconds of each read, by the clock and of a core [2, reads]."""
    drawn = np.random.default_rng(5).choice(users, reads).tolist()
    took = np.empty((2, reads))
    with SlateCache(cache, events=events) as reader:
        for place, user in enumerate(drawn):
            before = time.perf_counter(), time.process_time()
            (slate,) = reader.recommend([user.decode() if isinstance(user, bytes) else user])
            took[:, place] = time.perf_counter() - before[0], time.process_time() - before[1]
            assert slate.path == "cache"
    return took * 1_000


def tables_of(built: list[Built], waits_s: NDArray, read_ms: NDArray) -> list[Table]:
    """The figures.

    Args:
        built: rounds.
        waits_s: seconds from each click to the slate that knows it; infinite where none came.
        read_ms: milliseconds of each read, by the clock and of a core [2, reads].
    """
    rounds: list[list[Cell]] = [list(each) for each in built]
    came = waits_s[np.isfinite(waits_s)]
    made: list[Cell] = [len(waits_s), len(waits_s) - len(came), *map(float, np.percentile(came, [50, 99]))]
    read: list[Cell] = [read_ms.shape[1], *np.percentile(read_ms, [50, 99], axis=1).T.ravel().tolist()]
    return [
        Table("Built", ["users/s", "chain alone, users/s", "server, CPU-ms a user", "build, CPU-ms a user"], rounds),
        Table("Made anew after a click", ["clicks", "missed", "p50, s", "p99, s"], [made]),
        Table("Read", ["slates", "p50, ms", "p99, ms", "p50, CPU-ms", "p99, CPU-ms"], [read]),
    ]


def targets_of(built: list[Built], waits_s: NDArray, read_ms: NDArray) -> list[Target]:
    """What was promised, beside the same figures."""
    best = max(built, key=lambda each: each.built_per_s)
    beside = f"The chain alone served {best.chain_per_s:,.0f} a second just before."
    cpu = f"Of a core: {np.percentile(read_ms[1], 99):.2f} ms; the rest is what else the machine ran."
    return [
        judge("users/s built, best round", best.built_per_s, ">=", 2_500, beside),
        judge("click to new slate in the cache, p99, s", float(np.quantile(waits_s, 0.99, method="higher")), "<=", 5.0),
        judge("read of one slate, p99, ms", float(np.percentile(read_ms[0], 99)), "<=", 1.0, cpu),
    ]
