"""`python -m benchmarks stream`: events in, the next slate, what a live state costs a request, folds and files."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.result import Benchmark, Cell, Table, Target, command_line, judge
from benchmarks.stream.added import Added, measure_added
from benchmarks.stream.folding import Folding, measure_folding
from benchmarks.stream.hot import Hot, measure_hot
from benchmarks.stream.ingest import measure as measure_ingest
from benchmarks.stream.own_writes import OwnWrites, measure_own_writes
from ensemble.config import Config
from ensemble.serving.repository import find_repository
from runtime.stream.fields import EVENTS_MODEL
from runtime.stream.spec import StreamSpec
from workflows.core import console
from workflows.core.run import Run

__all__ = ["measure_stream"]

CLIENTS = 16
HOT_EVENTS = 200_000
SUMMARY = """Live events of the chain of {num_users:,} users and {num_items:,} items. *In*: a real Triton with an empty
folder of live events, on disk before an answer (`ack = "log"`); the clients share its cores. *Click to slate*: one
client, and {clients}, send one click at a time and ask for the next slate; a click is missed when its item is in it.
*Added to a request*: the chain in one process, users with {clicks} live events each, beside the same chain without a
live state that gets the same items in its request, asked in turn. *Fold*: {num_events:,} events in batches of 4,096 in
one process, log and store included; then the state is removed and made again from the log. *Hot*: {num_hot:,} events in
the same way, with three windows of users and items, drawn evenly and then with half of them on one item and a quarter
by one user."""


def measure_stream(run: Run, config: Config, num_events: int, clicks: int) -> Benchmark:
    """Measure everything on a run whose export takes in live events.

    Args:
        run: trained and exported.
        config: of it, with [stream].
        num_events: for the fold.
        clicks: in all, each followed by a slate.
    """
    started_at = time.perf_counter()
    repository = find_repository(run.root)
    spec = StreamSpec.load(repository / EVENTS_MODEL / "1")
    ids: dict[str, NDArray] = {s: np.load(run.folder("data") / "ids" / f"{s}s.npy") for s in ("user", "item")}
    console.say("benchmark: events in")
    taken = measure_ingest(run.root)
    with tempfile.TemporaryDirectory(prefix="benchmark-stream-", dir=run.root) as scratch:
        folder = Path(scratch)
        console.say(f"benchmark: {clicks:,} clicks, each before a slate")
        own = {
            n: measure_own_writes(repository, folder / f"own_{n}", ids["user"], clicks * n // (CLIENTS + 1), n)
            for n in (1, CLIENTS)
        }
        console.say("benchmark: what a live state adds to a request")
        added = measure_added(run, config, folder / "added")
        console.say(f"benchmark: {num_events:,} events folded")
        folding = measure_folding(spec, ids, folder / "folding", num_events)
        shutil.rmtree(folder / "folding")
        console.say(f"benchmark: {HOT_EVENTS:,} events, half of them of one item")
        hot = measure_hot(spec, ids, folder, HOT_EVENTS)
    took_s = time.perf_counter() - started_at
    sizes = {"num_users": len(ids["user"]), "num_items": len(ids["item"])}
    return Benchmark(
        name="stream",
        title="Live events",
        summary=SUMMARY.format(**sizes, clients=CLIENTS, clicks=5, num_events=num_events, num_hot=HOT_EVENTS),
        command=command_line("stream", {"events": num_events, "clicks": clicks}),
        settings={
            **sizes,
            "events": num_events,
            "clicks": clicks,
            "measuring, s": round(took_s),
        },
        figures=_tables(taken, own, added, folding, hot),
        targets=_targets(taken, own, added, folding, hot),
    )


def _tables(
    taken: list[dict[str, float]], own: dict[int, OwnWrites], added: list[Added], folding: Folding, hot: Hot
) -> list[Table]:
    rows: list[list[Cell]] = [
        [int(t["clients"]), int(t["batch"]), t["events_per_s"], t["p50_ms"], t["p99_ms"]] for t in taken
    ]
    slates: list[list[Cell]] = [[clients, *figures] for clients, figures in own.items()]
    live: list[list[Cell]] = [list(each) for each in added]
    folds: list[list[Cell]] = [list(folding)]
    return [
        Table("Events in", ["clients", "events a request", "events/s", "ack p50, ms", "ack p99, ms"], rows),
        Table("Click to slate", ["clients", "clicks", "missed", "p50, ms", "p99, ms"], slates),
        Table("Added to a request", ["users", "told, p50 ms", "live, p50 ms", "told, p99 ms", "live, p99 ms"], live),
        Table(
            "Fold and files",
            ["events/CPU-s", "state again, s a million", "log, B an event", "Parquet, B an event", "state, B a user"],
            folds,
        ),
        Table("Hot item and user", ["even, events/CPU-s", "hot, events/CPU-s", "hot / even"], [[*hot, hot.share]]),
    ]  # fmt: skip


def _targets(
    taken: list[dict[str, float]], own: dict[int, OwnWrites], added: list[Added], folding: Folding, hot: Hot
) -> list[Target]:
    by_setting = {(int(t["clients"]), int(t["batch"])): t for t in taken}
    alone, many, most = (by_setting[setting] for setting in ((1, 1), (8, 64), (4, 512)))
    return [
        judge("events/s, 512 a request, 4 clients, on disk", most["events_per_s"], ">=", 40_000),
        judge("events/s, 64 a request, 8 clients", many["events_per_s"], ">=", 15_000),
        judge("one event, ack p50, ms", alone["p50_ms"], "<=", 5.0),
        judge("one event, ack p99, ms", alone["p99_ms"], "<=", 25.0),
        judge("clicks that the next slate missed", float(sum(each.missed for each in own.values())), "<=", 0.0),
        judge("event to slate p99, ms", own[1].p99_ms, "<=", 100.0, "One client; both round trips are in it."),
        judge("added to a request of one user, p50 ms", added[0].live_p50_ms - added[0].plain_p50_ms, "<=", 0.15),
        judge("added to a request of one user, p99 ms", added[0].live_p99_ms - added[0].plain_p99_ms, "<=", 0.5),
        judge("events folded a CPU-second", folding.events_per_cpu_s, ">=", 100_000),
        judge("a hot item and user, share of the speed of even events", hot.share, ">=", 0.8),
        judge("a state made again, s a million events", folding.refold_s_per_million, "<=", 10.0),
        judge("Parquet, B an event", folding.parquet_bytes, "<=", 20.0),
        judge("state, B a user", folding.record_bytes, "<=", 1_600.0),
    ]
