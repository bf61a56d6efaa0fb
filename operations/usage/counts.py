"""The counts of a server's processes, those that live and those that are gone, as one sum that never falls."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import msgspec

from runtime.log.usage import BOUNDS_S, FOLDER, MOST_CONSUMERS, OTHER, SUFFIX, UNNAMED
from workflows.core.disk import writing
from workflows.core.errors import ArtefactError

__all__ = ["Counts", "Process", "Times", "read_usage"]

TOTALS_FILE = "totals.msgpack"
# A process rewrites its file each second; one that has not for so long is gone.
GONE_S = 60.0
# One that was only stopped for a while may come back within this time.
RETURNS_S = 86_400.0


class Process(msgspec.Struct, frozen=True):
    """The file of a process; see `runtime.log.usage`.

    Attributes:
        labels: "model_version", "layout" and "step" of the process.
        started_ns: nanoseconds since 1970.
        ended: whether no more will come.
        requests: consumer, outcome (ok, refused, failed) and how many.
        slates: consumer, path, fullness (full, short, empty) and how many.
        live: whether the state of live events was there, and slates of which that is so.
        times: consumer, and requests a bucket of its histogram, then the sum in microseconds.
    """

    labels: dict[str, str]
    started_ns: int
    ended: bool
    requests: list[tuple[str, str, int]] = []
    slates: list[tuple[str, str, str, int]] = []
    live: list[tuple[bool, int]] = []
    times: list[tuple[str, list[int]]] = []


class Times(msgspec.Struct):
    """A histogram of one consumer: requests a bucket, those above all bounds last, and the sum in seconds."""

    buckets: list[int]
    sum_s: float


class Counts:
    """Counts of any number of processes.

    Attributes:
        requests: by consumer and outcome.
        slates: by consumer, path and fullness.
        live: slates by whether the state of live events was there.
        times: by consumer; those of processes that do all of a request.
        processes: that live, by version, layout and step.
    """

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str]] = Counter()
        self.slates: Counter[tuple[str, str, str]] = Counter()
        self.live: Counter[bool] = Counter()
        self.times: dict[str, Times] = {}
        self.processes: Counter[tuple[str, str, str]] = Counter()

    def add(self, process: Process) -> None:
        """Add the counts of a process."""
        for consumer, outcome, count in process.requests:
            self.requests[consumer, outcome] += count
        for consumer, path, fullness, count in process.slates:
            self.slates[consumer, path, fullness] += count
        self.live.update(dict(process.live))
        for consumer, counted in process.times:
            self._add_times(consumer, counted[:-1], counted[-1] / 1e6)

    def merge(self, other: Counts) -> None:
        """Add the counts of other processes."""
        self.requests += other.requests
        self.slates += other.slates
        self.live += other.live
        self.processes += other.processes
        for consumer, times in other.times.items():
            self._add_times(consumer, times.buckets, times.sum_s)

    @property
    def consumers(self) -> set[str]:
        """The names, but for those of who says none and of all the others."""
        named = {name for name, _ in self.requests} | {name for name, _, _ in self.slates} | set(self.times)
        return named - {OTHER, UNNAMED}

    def of_consumers(self, names: Collection[str]) -> Counts:
        """The same, with all consumers but these as OTHER."""
        if self.consumers <= set(names):
            return self
        kept = {*names, UNNAMED}
        few = Counts()
        few.processes, few.live = self.processes, self.live
        for (consumer, outcome), count in self.requests.items():
            few.requests[_kept(consumer, kept), outcome] += count
        for (consumer, path, fullness), count in self.slates.items():
            few.slates[_kept(consumer, kept), path, fullness] += count
        for consumer, times in self.times.items():
            few._add_times(_kept(consumer, kept), times.buckets, times.sum_s)
        return few

    def _add_times(self, consumer: str, buckets: Sequence[int], sum_s: float) -> None:
        times = self.times.setdefault(consumer, Times([0] * (len(BOUNDS_S) + 1), 0.0))
        times.buckets = [a + b for a, b in zip(times.buckets, buckets, strict=True)]
        times.sum_s += sum_s


class Totals(msgspec.Struct):
    """What is kept of processes that are gone.

    Attributes:
        sum: of those that will not come back.
        recent: since when, and what, of those of the last day, by the names of their files.
        consumers: MOST_CONSUMERS names in the order in which they came: each process keeps to its own first ones, and
            a name that has its own counter keeps it.
    """

    sum: Process
    recent: dict[str, tuple[float, Process]]
    consumers: list[str]


def read_usage(logs: Sequence[Path], now: float | None = None) -> Counts:
    """The counts of LOG folders; files of processes that are gone are put into totals. One process calls this.

    Args:
        logs: the LOG folders.
        now: seconds since 1970.

    Raises:
        ArtefactError: the totals cannot be read.
        CascadeError: they cannot be written.
    """
    now = time.time() if now is None else now
    counts = Counts()
    for log in logs:
        counts.merge(_of_folder(log / FOLDER, now))
    return counts.of_consumers(sorted(counts.consumers)[:MOST_CONSUMERS])


def _of_folder(folder: Path, now: float) -> Counts:
    totals = _read_totals(folder / TOTALS_FILE)
    living, gone = _files(folder, now)
    returned = [name for name in living if name in totals.recent]
    old = [name for name, (since, _) in totals.recent.items() if now - since > RETURNS_S and name not in living]
    for name in returned:
        del totals.recent[name]
    for name in old:
        totals.sum = _added([totals.sum, totals.recent.pop(name)[1]])
    totals.recent |= {name: (now, process) for name, process in gone.items()}
    counts = Counts()
    for process in (totals.sum, *(process for _, process in totals.recent.values()), *living.values()):
        counts.add(process)
    new = sorted(counts.consumers - set(totals.consumers))[: MOST_CONSUMERS - len(totals.consumers)]
    totals.consumers += new
    if gone or returned or old or new:
        with writing("monitor", folder):
            fresh = folder / f".{TOTALS_FILE}"
            fresh.write_bytes(msgspec.msgpack.encode(totals))
            fresh.replace(folder / TOTALS_FILE)
            # Only now: what is removed is counted there.
            for name in gone:
                (folder / name).unlink(missing_ok=True)
    for process in living.values():
        labels = process.labels
        counts.processes[labels.get("model_version", ""), labels.get("layout", ""), labels.get("step", "")] += 1
    return counts.of_consumers(totals.consumers)


def _files(folder: Path, now: float) -> tuple[dict[str, Process], dict[str, Process]]:
    """The processes that live and those that are gone, by the names of their files."""
    living: dict[str, Process] = {}
    gone: dict[str, Process] = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            process, changed = msgspec.json.decode(path.read_bytes(), type=Process), path.stat().st_mtime
        except FileNotFoundError:
            continue
        except (OSError, msgspec.DecodeError):
            # Whoever writes it does so again in a second; a broken one that nobody writes says nothing.
            continue
        is_gone = process.ended or now - changed > GONE_S
        (gone if is_gone else living)[path.name] = process
    return living, gone


def _read_totals(path: Path) -> Totals:
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Totals)
    except FileNotFoundError:
        return Totals(Process({}, 0, True), {}, [])
    except (OSError, msgspec.DecodeError) as error:
        raise ArtefactError(
            f"{path} cannot be read ({error}); move it away, and the counters of processes that are gone begin at 0"
        ) from error


def _added(processes: Iterable[Process]) -> Process:
    counts = Counts()
    for process in processes:
        counts.add(process)
    times = [(name, [*times.buckets, round(times.sum_s * 1e6)]) for name, times in counts.times.items()]
    requests = [(*key, count) for key, count in counts.requests.items()]
    slates = [(*key, count) for key, count in counts.slates.items()]
    return Process({}, 0, True, requests, slates, list(counts.live.items()), times)


def _kept(consumer: str, kept: set[str]) -> str:
    return consumer if consumer in kept else OTHER
