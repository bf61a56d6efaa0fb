"""Events and requests together for a long time: no error, nothing lost, and memory and open files that do not grow."""

from __future__ import annotations

import itertools
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.result import Benchmark, Cell, Plot, Series, Table, Target, command_line, judge
from benchmarks.serving.usage import cpu_seconds, open_files, private_bytes
from cascade_client import CascadeClient, CascadeClientError
from ensemble.serving.repository import find_repository
from ensemble.serving.triton import TritonServer
from ensemble.stream.replay import replay
from runtime.stream.fields import EVENTS_MODEL
from runtime.stream.log.reader import next_offset
from runtime.stream.spec import StreamSpec
from workflows.core import console
from workflows.core.errors import ArtefactError
from workflows.core.run import Run

__all__ = ["Sample", "equals_its_log", "measure_soak", "targets_of"]

SENDERS, ASKERS, BATCH = 2, 2, 64
CAPACITY_S, SAMPLE_S = 20.0, 30.0
SUMMARY = """A real Triton with an empty folder of live events, on disk before an answer. {senders} clients send
requests of {batch} new events; {askers} others click on the first item of a user's slate and ask for the next one.
First all go as fast as they can, which is the capacity; then, for {minutes:g} minutes, at {load:.0%} of it. The
clients share the server's cores. A click is missed when its item is in the next slate. At the end the log is folded
once more; it must make the state that served, to the byte. Private memory is that
which is no file's: the state is mapped from a file. Growth compares the medians of the second and the last quarter of
the time."""


class Sample(NamedTuple):
    """What was seen at one instant.

    Attributes:
        at_s: seconds since the load began.
        by_process: private memory by the name of the process, bytes.
        open_files: of all processes.
        cpu_s: CPU-seconds so far.
    """

    at_s: float
    by_process: Mapping[str, int]
    open_files: int
    cpu_s: float

    @property
    def private_bytes(self) -> int:
        """Of all processes."""
        return sum(self.by_process.values())


class _Load:
    """Clients in threads, each with a pace of its own, and what they counted."""

    def __init__(self, url: str, ids: dict[str, NDArray], label: str) -> None:
        self._url, self._label = url, label
        self._ids: dict[str, list] = {side: _plain(known) for side, known in ids.items()}
        self._items = self._ids["item"]
        self.events = self.slates = self.missed = 0
        self.latencies_ms: dict[str, list[float]] = {"ack": [], "slate": []}
        self.errors: Counter[str] = Counter()
        self._lock = threading.Lock()

    def run(self, seconds: float, events_per_s: float, slates_per_s: float) -> None:
        """Go on for some seconds; a rate of 0 is as fast as it goes."""
        until = time.monotonic() + seconds
        parts = np.array_split(np.arange(len(self._ids["user"])), SENDERS + ASKERS)
        users = [[self._ids["user"][row] for row in part] for part in parts]
        pace = {"send": SENDERS * BATCH / events_per_s if events_per_s else 0.0}
        pace["ask"] = ASKERS / slates_per_s if slates_per_s else 0.0
        work: list[tuple[Callable, list, float]] = [(self._send, own, pace["send"]) for own in users[:SENDERS]]
        work += [(self._ask, own, pace["ask"]) for own in users[SENDERS:]]
        threads = [threading.Thread(target=self._repeat, args=(*each, until)) for each in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _repeat(self, step: Callable, users: list, interval_s: float, until: float) -> None:
        random = np.random.default_rng()
        with CascadeClient(self._url, timeout_s=30.0, retry=None) as client:
            due = time.monotonic() + interval_s * random.random()
            for number in itertools.count():
                now = time.monotonic()
                if now >= until:
                    return
                if now < due:
                    time.sleep(due - now)
                # A client that fell behind does not send all at once what it missed.
                due = max(due + interval_s, now)
                try:
                    step(client, users, number, random)
                except CascadeClientError as error:
                    with self._lock:
                        self.errors[str(error)] += 1

    def _send(self, client: CascadeClient, users: list, number: int, random: np.random.Generator) -> None:
        drawn = zip(random.integers(0, len(users), BATCH), random.integers(0, len(self._items), BATCH), strict=True)
        events = [{"user_id": users[u], "item_id": self._items[i], "label": self._label} for u, i in drawn]
        started_at = time.perf_counter()
        outcomes = client.send(events)
        took_ms = 1000 * (time.perf_counter() - started_at)
        self._count("ack", took_ms, events=self._new(outcomes))

    def _ask(self, client: CascadeClient, users: list, number: int, random: np.random.Generator) -> None:
        user = users[number % len(users)]
        (before,) = client.recommend([user])
        item = before.item_ids[0]
        self._count("ack", None, events=self._new(client.send([{"user_id": user, "item_id": item}])))
        started_at = time.perf_counter()
        (after,) = client.recommend([user])
        took_ms = 1000 * (time.perf_counter() - started_at)
        self._count("slate", took_ms, slates=2, missed=int(item in after.item_ids))

    def _new(self, outcomes: Sequence[Any]) -> int:
        refused = [outcome for outcome in outcomes if outcome.status != "new"]
        for outcome in refused:
            with self._lock:
                self.errors[f"an event was {outcome.status}: {outcome.reason}"] += 1
        return len(outcomes) - len(refused)

    def _count(self, kind: str, took_ms: float | None, events: int = 0, slates: int = 0, missed: int = 0) -> None:
        with self._lock:
            self.events, self.slates, self.missed = self.events + events, self.slates + slates, self.missed + missed
            if took_ms is not None:
                self.latencies_ms[kind].append(took_ms)


def measure_soak(run: Run, minutes: float, load: float) -> Benchmark:
    """Serve an exported run under events and requests for a while.

    Args:
        run: whose export takes in live events.
        minutes: for which it does.
        load: of what the same clients reach when nothing holds them back, from 0 to 1.

    Raises:
        ArtefactError: the log does not make the state that served.
    """
    repository = find_repository(run.root)
    spec = StreamSpec.load(repository / EVENTS_MODEL / "1")
    ids = {side: np.load(run.folder("data") / "ids" / f"{side}s.npy") for side in ("user", "item")}
    with tempfile.TemporaryDirectory(prefix="benchmark-soak-", dir=run.root) as scratch:
        events = Path(scratch) / "events"
        with TritonServer(repository, events=events) as server:
            clients = _Load(server.grpc_url, ids, spec.labels[0])
            console.say(f"benchmark: the capacity, {CAPACITY_S:g} s")
            clients.run(CAPACITY_S, 0.0, 0.0)
            capacity = clients.events / CAPACITY_S, clients.slates / CAPACITY_S
            clients.latencies_ms = {"ack": [], "slate": []}
            counted = clients.events, clients.slates
            console.say(f"benchmark: {capacity[0]:,.0f} events/s and {capacity[1]:,.0f} slates/s; {minutes:g} minutes")
            # An asker makes two slates a step, so half the steps a second.
            pace = load * capacity[0], load * capacity[1] / 2
            samples = _watched(server.pid, lambda: clients.run(60 * minutes, *pace))
        lost = clients.events - next_offset(events)
        console.say(f"benchmark: {clients.events:,} events folded once more")
        equal = equals_its_log(events)
    during = clients.events - counted[0], clients.slates - counted[1]
    return _result(run, (minutes, load), capacity, during, clients, samples, (lost, equal))


def _watched(pid: int, work: Callable[[], None]) -> list[Sample]:
    """Samples of a server's processes while some work goes on."""
    samples: list[Sample] = []
    done, started_at = threading.Event(), time.monotonic()

    def watch() -> None:
        while not done.wait(SAMPLE_S):
            at_s = time.monotonic() - started_at
            samples.append(Sample(at_s, private_bytes(pid), open_files(pid), cpu_seconds(pid)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return samples


def equals_its_log(events: Path) -> bool:
    """Whether the log of a folder of live events, folded once more, makes its state to the byte."""
    try:
        replay(events, check=True)
    except ArtefactError as error:
        console.say(f"benchmark: {error}")
        return False
    return True


def _result(
    run: Run,
    settings: tuple[float, float],
    capacity: tuple[float, float],
    during: tuple[int, int],
    clients: _Load,
    samples: list[Sample],
    proof: tuple[int, bool],
) -> Benchmark:
    minutes, load = settings
    errors = sum(clients.errors.values())
    private, files = _by_quarter(samples)
    cores = (samples[-1].cpu_s - samples[0].cpu_s) / (samples[-1].at_s - samples[0].at_s)
    percentiles = {
        kind: [round(float(value), 2) for value in np.percentile(times, [50, 99, 99.9])]
        for kind, times in clients.latencies_ms.items()
    }
    return Benchmark(
        name="soak",
        title="Live events for a long time",
        summary=SUMMARY.format(senders=SENDERS, askers=ASKERS, batch=BATCH, minutes=minutes, load=load),
        command=command_line("soak", {"minutes": f"{minutes:g}", "load": f"{load:g}"}),
        settings={"users": len(clients._ids["user"]), "items": len(clients._items), "minutes": minutes, "load": load},
        figures=[
            Table("Load", ["events/s at most", "slates/s at most", "events", "slates", "errors", "server, cores"],
                  [[capacity[0], capacity[1], during[0], during[1], errors, cores]]),
            Table("Time, ms", ["what", "p50", "p99", "p99.9"],
                  [[f"{BATCH} events acknowledged", *percentiles["ack"]], ["one slate", *percentiles["slate"]]]),
            Table("Memory and files", ["quarter", "private memory, MiB", "open files"],
                  [[n + 1, p / 2**20, f] for n, (p, f) in enumerate(zip(private, files, strict=True))]),
            _by_process(samples),
        ],
        plots=[
            Plot("memory", "Private memory of all processes of the server", "lines", "minutes", "MiB",
                 [Series(name, [s.at_s / 60 for s in samples], [s.by_process.get(name, 0) / 2**20 for s in samples])
                  for name in _processes(samples)]),
        ],
        targets=targets_of(clients.errors, clients.missed, samples, proof),
    )  # fmt: skip


def targets_of(errors: Counter[str], missed: int, samples: Sequence[Sample], proof: tuple[int, bool]) -> list[Target]:
    """What was promised.

    Args:
        errors: their sentences, and how often each came.
        missed: clicks.
        samples: of the server, at least 4.
        proof: events that are not in the log, and whether the log makes the state.
    """
    private, files = _by_quarter(samples)
    growth = 100 * (private[3] / private[1] - 1)
    return [
        judge("errors", float(sum(errors.values())), "<=", 0.0, "; ".join(errors)),
        judge("clicks that the next slate missed", float(missed), "<=", 0.0),
        judge("events acknowledged and not in the log", float(proof[0]), "<=", 0.0),
        judge("states that differ from the log folded once more", float(not proof[1]), "<=", 0.0),
        judge("private memory, growth from the second to the last quarter, %", growth, "<=", 2.0),
        judge("open files, growth from the second to the last quarter", files[3] - files[1], "<=", 0.0),
    ]


def _by_quarter(samples: Sequence[Sample]) -> tuple[list[float], list[float]]:
    """Medians of private memory and of open files, one a quarter of the time."""
    return _medians([s.private_bytes for s in samples]), _medians([s.open_files for s in samples])


def _medians(values: Sequence[float]) -> list[float]:
    return [float(np.median(quarter)) for quarter in np.array_split(np.array(values), 4)]


def _processes(samples: Sequence[Sample]) -> list[str]:
    return sorted({name for sample in samples for name in sample.by_process})


def _by_process(samples: Sequence[Sample]) -> Table:
    """Medians of the private memory of the processes of one name, one a quarter of the time."""
    rows: list[list[Cell]] = [
        [name, *_medians([sample.by_process.get(name, 0) / 2**20 for sample in samples])]
        for name in _processes(samples)
    ]
    return Table("Private memory by process, MiB", ["process", *(f"quarter {n}" for n in range(1, 5))], rows)


def _plain(known: NDArray) -> list:
    return [each.decode() if isinstance(each, bytes) else each for each in known.tolist()]
