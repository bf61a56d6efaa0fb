"""The result of `python -m benchmarks soak-operations`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.operating.chores import CLICKED_SHARE, Chores
from benchmarks.operating.clients import Clients
from benchmarks.operating.samples import FIGURES, Sample, quarters
from benchmarks.result import Benchmark, Cell, Plot, Series, Table, Target, command_line, judge

__all__ = ["Found", "result_of"]

SUMMARY = """`cascade serve --log LOG --log-share 1.0 --consumers web,app` of a published repository with live events,
`cascade log collect --follow` and `cascade monitor --port` go on side by side for {minutes:g} minutes. Two clients, of
gRPC and of HTTP, try nothing again and ask for {rate:g} slates a second, whose right items, scores and paths are known
from the version's files; one of them sends events of other users too. A scraper reads the monitor's page each 15 s.
Meanwhile an item is blocked for a while each two minutes, one in {share} of the slates is clicked on and joined by
`cascade feedback` each five minutes, MON is verified and a day of it pruned each ten; in the first half of the time the
server is reloaded each five minutes and takes a new version each fifteen. *Lost* are answers that are not in what was
collected in the end. Private memory is that which is no file's. Growth compares the medians of the second and the last
quarter of the time."""
MEMORY_PERCENT, SERIES = 2.0, 5_000.0
KEPT_SENTENCES = 3


class Found(NamedTuple):
    """What came of it.

    Attributes:
        settings: minutes, and slates a second.
        clients: and what they counted.
        chores: the same.
        samples: at least 4.
        num_lost: answers that were not collected.
        num_unjoined: clicks that were not joined by the id of their request.
        counts: of the collector.
        ended: programs that ended before they were to, or not well.
        verified: what `cascade log verify` said of damage; "" where there is none.
    """

    settings: tuple[float, float]
    clients: Clients
    chores: Chores
    samples: Sequence[Sample]
    num_lost: int
    num_unjoined: int
    counts: Mapping[str, int]
    ended: Sequence[str]
    verified: str


def result_of(found: Found) -> Benchmark:
    """The figures and targets."""
    (minutes, rate), samples = found.settings, found.samples
    # What has ended no longer counts, so that the sum may fall.
    cpu_s = float(np.clip(np.diff([sample.cpu_s for sample in samples]), 0.0, None).sum())
    cores = cpu_s / (samples[-1].at_s - samples[0].at_s)
    clients = found.clients
    p50, p99 = np.percentile(clients.latencies_ms, [50, 99]).tolist()
    return Benchmark(
        name="soak_operations",
        title="Operations for a long time",
        summary=SUMMARY.format(minutes=minutes, rate=rate, share=CLICKED_SHARE),
        command=command_line("soak-operations", {"minutes": f"{minutes:g}", "rate": f"{rate:g}"}),
        settings={"minutes": minutes, "slates/s": rate},
        figures=[
            Table("Load", ["slates", "p50, ms", "p99, ms", "events", "errors", "clicks", "programs, cores"],
                  [[len(clients.answered), p50, p99, clients.num_events, sum(clients.errors.values()),
                    found.chores.num_clicks, cores]]),
            Table("What was held", ["figure", *(f"quarter {n}" for n in range(1, 5))],
                  [[name, *quarters(samples, figure)] for name, figure in FIGURES.items()]),
            Table("Private memory by process, MiB", ["process", *(f"quarter {n}" for n in range(1, 5))],
                  [_memory(samples, name) for name in _processes(samples)]),
            Table("Commands beside them", ["command", "times", "median, s", "longest, s"],
                  [[name, len(took), float(np.median(took)), max(took)]
                   for name, took in sorted(found.chores.took_s.items())]),
        ],
        plots=[
            Plot("memory", "Private memory by process", "lines", "minutes", "MiB",
                 [Series(name, [s.at_s / 60 for s in samples], [s.memory.get(name, 0) / 2**20 for s in samples])
                  for name in _processes(samples)]),
        ],
        targets=_targets(found),
    )  # fmt: skip


def _targets(found: Found) -> list[Target]:
    clients, samples, failed = found.clients, found.samples, found.chores.failed
    dropped = {
        name: number for name, number in found.counts.items() if name.startswith("dropped_") or name == "damaged"
    }
    left_out = sum(dropped.values())
    return [
        judge("errors", sum(clients.errors.values()), "<=", 0, "; ".join(list(clients.errors)[:KEPT_SENTENCES])),
        judge("wrong slates", len(clients.wrong), "<=", 0, "; ".join(clients.wrong[:KEPT_SENTENCES])),
        judge("answers that are not in MON", found.num_lost, "<=", 0),
        judge("records that were dropped or damaged", left_out, "<=", 0, str(dropped) if left_out else ""),
        judge("clicks that were not joined by their request", found.num_unjoined, "<=", 0),
        judge("commands that failed", len(failed), "<=", 0, "; ".join(failed[:KEPT_SENTENCES])),
        judge("programs that ended, or not well", len(found.ended), "<=", 0, ", ".join(found.ended)),
        judge("damage that log verify finds", int(bool(found.verified)), "<=", 0, found.verified),
        judge("private memory, growth from the second to the last quarter, %", _growth(samples), "<=", MEMORY_PERCENT),
        judge("open files, growth from the second to the last quarter", _more(samples, "open files"), "<=", 0),
        judge("threads, growth from the second to the last quarter", _more(samples, "threads"), "<=", 0),
        judge("files of LOG, growth from the second to the last quarter", _more(samples, "files of LOG"), "<=", 0),
        judge("series, growth from the second to the last quarter", _more(samples, "series of the monitor"), "<=", 0),
        judge("series of the monitor", max(s.series for s in samples), "<=", SERIES),
        judge("scrapes without an answer", sum(not s.series for s in samples), "<=", 0),
    ]  # fmt: skip


def _growth(samples: Sequence[Sample]) -> float:
    found = quarters(samples, FIGURES["private memory, MiB"])
    return 100 * (found[3] / found[1] - 1)


def _more(samples: Sequence[Sample], name: str) -> float:
    found = quarters(samples, FIGURES[name])
    return found[3] - found[1]


def _processes(samples: Sequence[Sample]) -> list[str]:
    """Those that are there for most of the time; others belong to a reload."""
    seen = Counter(name for sample in samples for name in sample.memory)
    return sorted(name for name, times in seen.items() if 2 * times > len(samples))


def _memory(samples: Sequence[Sample], name: str) -> list[Cell]:
    return [name, *quarters(samples, lambda sample: sample.memory.get(name, 0) / 2**20)]
