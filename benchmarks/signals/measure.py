"""`python -m benchmarks signals`: false alarms of months without a change, shifts that are found, planted defects."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from benchmarks.result import Benchmark, Cell, Table, command_line, judge
from benchmarks.signals.cost import LargeDay, measure_large_day
from benchmarks.signals.defects import Outcome, outcomes
from benchmarks.signals.month import HISTORY, MONTH, Served, false_tickets, found, history, shifts
from benchmarks.signals.traffic import make_pool
from ensemble.profile.ask import open_chain
from ensemble.profile.profile import PROFILE_FILE, Profile
from workflows.core import console
from workflows.core.errors import ArtefactError
from workflows.core.run import Run

__all__ = ["Settings", "measure_signals"]

SUMMARY = """Simulated days of requests, answered by the compiled chain of a run: users of its test events who come more
or less often by the day and at weekends, a twelfth of them unknown, a third with recent items. Every value is measured
and every limit learnt by the code of `cascade monitor`. A month in which nothing changes counts the alarms that begin;
a change counts as found when any signal is out of its limits after two windows; a defect, planted into the requests,
the version's files or the answers, is rightly named when the first signal of the list is of its family. *A large day*
is read from Parquet and measured by a process of its own."""
SHIFTED = "device"


@dataclass(frozen=True)
class Settings:
    """How much is simulated.

    Attributes:
        seeds: histories in which a change is sought.
        months: of them, in which nothing changes for a month.
        requests: a day.
        pool: answered requests that days are drawn from.
        rows: of the large day.
    """

    seeds: int = 100
    months: int = 20
    requests: int = 3_000
    pool: int = 8_000
    rows: int = 1_000_000


def measure_signals(run: Run, settings: Settings) -> Benchmark:
    """Simulate.

    Args:
        run: of configs/shop.toml, exported.
        settings: how much.

    Raises:
        ArtefactError: the run has no export with a profile.
    """
    folder = run.require("repo") / "fused/cascade/1/chain"
    if not (folder / PROFILE_FILE).is_file():
        raise ArtefactError(f"{folder} has no {PROFILE_FILE}; export the run again, with the layout 'fused'")
    chain = open_chain(folder)
    served = Served(chain, Profile.load(folder / PROFILE_FILE), make_pool(run, chain, settings.pool), settings.requests)
    started = time.process_time()
    changes = shifts(served, SHIFTED)
    tickets: list[int] = []
    caught: Counter[str] = Counter()
    for seed in range(settings.seeds):
        month = history(served, seed)
        if seed < settings.months:
            number, num_signals = false_tickets(month)
            tickets.append(number)
        for name, change in changes.items():
            caught[name] += bool(found(month, change))
        console.say(f"signals: {seed + 1} of {settings.seeds} seeds, {sum(tickets)} false alarms, {dict(caught)}")
    days = settings.seeds * (HISTORY + 2 * len(changes)) + settings.months * MONTH
    a_day = (time.process_time() - started) / days
    defects = list(outcomes(run, folder, history(served, 0), run.root / "benchmarks" / ".damaged", settings.pool // 2))
    console.say(f"signals: a day of {settings.rows:,} requests")
    scratch = run.root / "benchmarks" / ".large-day"
    large = measure_large_day(run.require("repo") / "fused", served.pool, settings.rows, scratch)
    return _result(settings, num_signals, tickets, caught, defects, a_day, large)


def _result(
    settings: Settings,
    num_signals: int,
    tickets: list[int],
    caught: Counter[str],
    defects: list[Outcome],
    a_day: float,
    large: LargeDay,
) -> Benchmark:
    found_share = min(caught.values()) / settings.seeds
    detected = sum(bool(outcome.signals) for outcome in defects)
    named = sum(outcome.family == outcome.defect.family for outcome in defects)
    shifted: list[list[Cell]] = [[name, number, settings.seeds] for name, number in caught.items()]
    planted: list[list[Cell]] = [
        [o.defect.name, o.defect.family, o.family or "none", ", ".join(o.signals[:3]) or "none", len(o.signals)]
        for o in defects
    ]
    months: list[list[Cell]] = [[number, count] for number, count in sorted(Counter(tickets).items())]
    memory = [size / 2**20 for size in (large.peak_bytes, large.before_bytes)]
    options = {"seeds": settings.seeds, "months": settings.months, "requests": settings.requests}
    return Benchmark(
        name="signals",
        title="Signals",
        summary=SUMMARY,
        command=command_line("signals", options),
        settings={**options, "signals with limits": num_signals, "days of history": HISTORY, "days of a month": MONTH},
        figures=[
            Table("Months in which nothing changes", ["false alarms in the month", "months"], months),
            Table("Changes that last", ["change", "found within two windows", "seeds"], shifted),
            Table("Planted defects", ["defect", "family", "named first", "first signals", "out of limits"], planted),
            Table("Time", ["figure", "value"], [["CPU of a day's signals and limits, s", a_day]]),
            Table(
                "A large day",
                ["requests", "of them measured", "signals", "CPU, s", "memory at most, MiB", "before it, MiB"],
                [[large.num_rows, large.num_measured, large.num_signals, large.cpu_s, *memory]],
            ),
        ],
        targets=[
            judge("signals that are judged in the month", num_signals, ">=", 40),
            judge("false tickets a month, the worst month", max(tickets), "<=", 2),
            judge("false tickets a month, mean", sum(tickets) / len(tickets), "<=", 2),
            judge("share of changes found within two windows, the least of them", found_share, ">=", 0.95),
            judge("defects detected, of 12", detected, ">=", 11),
            judge("defects whose family is named first, of 12", named, ">=", 9),
            judge(f"CPU of a day of {large.num_rows:,} requests, s", large.cpu_s, "<=", 5),
            judge("memory of the same at most, MiB", memory[0], "<=", 600),
        ],
        notes=["Nothing here pages: of signals, a replay mismatch alone is meant to, by rules that are not here yet."],
    )
