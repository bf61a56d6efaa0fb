"""`python -m benchmarks request-log`: what logging adds to a request, and logged requests asked again."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.request_log.added import SHARES, Added, measure_added
from benchmarks.request_log.served import Replays, Rounds, measure_replays, measure_rounds
from benchmarks.result import Benchmark, Table, Target, command_line, judge
from benchmarks.serving.questions import draw_questions
from ensemble.serving.repository import find_repository
from runtime.spec import ChainSpec
from workflows.core import console
from workflows.core.run import Run

__all__ = ["Settings", "measure_request_log", "tables_of", "targets_of"]

SUMMARY = """What `cascade serve --log` costs. *Added*: processor time of all threads that logging adds to a request of
one user in one process, beside the chain's own. *Served*: one client asks Tritons with and without a log for the same
users over gRPC, {requests} requests a slice, in turn, {slices} slices a round; each round starts them anew, since two
servers of one kind differ for as long as they live, as the row without a log shows. The median of the rounds' ratios
with a 95% interval.
*Asked again*: requests logged with a share of 1 over gRPC, collected and replayed, in both layouts."""


class Settings(NamedTuple):
    """How much is measured; see the options of the command."""

    rounds: int
    slices: int
    requests: int
    replays: int


def measure_request_log(run: Run, settings: Settings) -> Benchmark:
    """Measure everything on an exported run."""
    load = os.getloadavg()[0]
    repositories = {layout: find_repository(run.root, layout) for layout in ("fused", "ensemble")}
    chain = repositories["fused"] / "cascade/1/chain"
    questions = draw_questions(run, ChainSpec.load(chain), 5_000, seed=3)
    replays = []
    with tempfile.TemporaryDirectory(prefix="benchmark-log-") as scratch:
        folder = Path(scratch)
        console.say("benchmark: processor time that logging adds")
        added = measure_added(chain, questions, folder / "added")
        console.say(f"benchmark: {settings.rounds} rounds of servers with and without a log")
        rounds = measure_rounds(repositories["fused"], questions, SHARES[1:], settings[:3], folder)
        for layout, repository in repositories.items():
            console.say(f"benchmark: {settings.replays:,} requests of the layout {layout} are asked again")
            replays.append(measure_replays(repository, layout, questions, settings.replays, folder / layout))
    return Benchmark(
        name="request_log",
        title="The request log",
        summary=SUMMARY.format(requests=settings.requests, slices=settings.slices),
        command=command_line("request-log", settings._asdict()),
        settings={**settings._asdict(), "load_before": round(load, 1)},
        figures=tables_of(added, rounds, replays),
        targets=targets_of(added, rounds, replays),
        notes=[
            "All servers and the client share the cores: on a machine that does other work, ratios of latency say "
            "little."
        ],
    )


def tables_of(added: Added, rounds: Sequence[Rounds], replays: Sequence[Replays]) -> list[Table]:
    """Every figure."""
    costs = zip(SHARES, added.added_us, strict=True)
    return [
        Table(
            "Added to a request",
            ["share", "chain, CPU us", "log, CPU us", "log over chain"],
            [[share, added.chain_us, us, us / added.chain_us] for share, us in costs],
        ),
        Table(
            "A server with a log over one without",
            ["share", "rounds", "p50", "p50, low", "p50, high", "CPU", "CPU, low", "CPU, high"],
            [
                [
                    "no log" if each.share is None else each.share,
                    len(each.latency),
                    *middle(each.latency),
                    *middle(each.cpu),
                ]
                for each in rounds
            ],
        ),
        Table(
            "Asked again",
            ["layout", "requests", "identical", "rows collected/CPU s", "CPU over served", "bytes a row"],
            [[*each] for each in replays],
        ),
    ]


def targets_of(added: Added, rounds: Sequence[Rounds], replays: Sequence[Replays]) -> list[Target]:
    """What was promised."""
    few = next(each for each in rounds if each.share == SHARES[1])
    sampled = (added.added_us[-1], "share 1: every request is encoded and written")
    return [
        judge("a log of 5%: its CPU over the chain's", added.added_us[1] / added.chain_us, "<=", 0.01),
        judge("a logged request: CPU us", sampled[0], "<=", 60.0, sampled[1]),
        judge("a log of 5%: p50 over that without", middle(few.latency)[0], "<=", 1.03, by_chance(rounds)),
        judge(
            "share of the requests that are answered again bit for bit",
            sum(each.num_identical for each in replays) / sum(each.num_logged for each in replays),
            ">=",
            1.0,
        ),
        judge("replay: its CPU over the server's", max(each.cpu_ratio for each in replays), "<=", 2.0),
        judge("collector: rows a CPU second", min(each.rows_per_s for each in replays), ">=", 5_000),
        judge("bytes a row", max(each.bytes_a_row for each in replays), "<=", 300),
    ]


def by_chance(rounds: Sequence[Rounds]) -> str:
    """How far two servers without a log are apart."""
    value, low, high = next(middle(each.latency) for each in rounds if each.share is None)
    return f"of two servers without a log it is {value:.3f} ({low:.3f} to {high:.3f})"


def middle(ratios: Sequence[float]) -> tuple[float, float, float]:
    """The median of paired ratios with a 95% interval of it."""
    values = np.array(ratios)
    draws = np.random.default_rng(0).integers(0, len(values), (2_000, len(values)))
    low, high = np.percentile(np.median(values[draws], axis=1), [2.5, 97.5])
    return float(np.median(values)), float(low), float(high)
