"""All of operations beside a served chain for a long time: no error, no wrong slate, nothing lost, and no growth."""

from __future__ import annotations

import hashlib
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyarrow as pa

from benchmarks.failures.load import questions_of, without_item
from benchmarks.failures.measure import NUM_QUESTIONS, SEED, theatre_of
from benchmarks.failures.offline import rows_in
from benchmarks.failures.stage import LAYOUT
from benchmarks.operating.chores import Chores, Places
from benchmarks.operating.clients import Clients
from benchmarks.operating.programs import Program, run_command
from benchmarks.operating.result import Found, result_of
from benchmarks.operating.samples import Sample, Watched, sampled
from benchmarks.result import Benchmark
from benchmarks.signals.logged import write_day
from ensemble.config import Config
from ensemble.publish import publish
from ensemble.serving.triton import ADMIN_KEY_VARIABLE
from operations.feedback.status import FeedbackStatus
from operations.folder import STATUS, read_json
from operations.log.collect import collect
from runtime.log.identity import chain_key
from workflows.core import console
from workflows.core.run import Run

__all__ = ["measure_operations"]

CONSUMERS, SHARE = "web,app", "1.0"
SAMPLE_S, DAY_S, NUM_DAYS = 15.0, 86_400, 10
# Segments are closed after a minute, and looked for each few seconds.
COLLECTED_WITHIN_S = 90.0
FREE_PORTS = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")


def measure_operations(run: Run, config: Config, config_path: Path, minutes: float, slates_per_s: float) -> Benchmark:
    """Serve an exported run and operate it for a while.

    Args:
        run: whose export takes in live events.
        config: of it.
        config_path: its file.
        minutes: for which it does.
        slates_per_s: that are asked for.

    Raises:
        CascadeError: a program does not start.
    """
    with tempfile.TemporaryDirectory(prefix="benchmark-operations-", dir=run.root) as folder, ExitStack() as stack:
        scratch = Path(folder)
        repository, log, mon = scratch / "published", scratch / "LOG", scratch / "MON"
        chain = run.require("repo") / LAYOUT / "cascade/1/chain"
        theatre = theatre_of(run, config, config_path)
        plain = questions_of(run, chain, NUM_QUESTIONS, SEED)
        item = plain[0].items[0]
        publish(run, config, repository, LAYOUT)
        key = secrets.token_hex(16)
        programs = _programs(repository, log, mon, scratch, key)
        serve = stack.enter_context(next(programs))
        urls = dict(part.split("=", 1) for part in serve.ready.split())
        ways = urls["grpc"], urls["http"]
        clients = Clients(ways, plain, without_item(plain, chain, item), theatre.senders, theatre.items, slates_per_s)
        with clients:
            _first_days(log, mon, repository)
            collector, monitor = (stack.enter_context(program) for program in programs)
            watched = Watched({each.name: each.pid for each in (serve, collector, monitor)}, log, mon, monitor.ready)
            places = Places(run, config, repository, log, mon, scratch, urls["grpc"], key, str(item), NUM_DAYS)
            console.say(f"benchmark: {minutes:g} minutes")
            with _sampled(watched) as samples, Chores(places, clients, 60 * minutes) as chores:
                clients.stop.wait(60 * minutes)
        console.say("benchmark: what is left is collected")
        _until_collected(mon, clients)
        chores.feedback()
        verified = run_command("log", "verify", str(mon))
        ended = [program.name for program in (serve, collector, monitor) if not program.is_running]
        stack.close()
        names = set(rows_in(mon)["request_id"].to_pylist())
        found = Found(
            (minutes, slates_per_s), clients, chores, samples,
            num_lost=len(set(clients.answered) - names),
            num_unjoined=chores.num_clicks - FeedbackStatus.load(mon).totals()["id"],
            counts=read_json(mon / STATUS, {})["counts"],
            ended=[*ended, *(f"{each.name} ({each.status})" for each in (serve, collector, monitor) if each.status)],
            verified="" if not verified.status else verified.said,
        )  # fmt: skip
        for program in (serve, collector, monitor):
            (run.root / f"operations-{program.name}.log").write_text(program.said)
    return result_of(found)


def _programs(repository: Path, log: Path, mon: Path, scratch: Path, key: str) -> Iterator[Program]:
    """The server, the collector and the monitor, each to be started once the one before has."""
    served = ["serve", str(repository), *FREE_PORTS, "--events", str(scratch / "events")]
    served += ["--log", str(log), "--log-share", SHARE, "--consumers", CONSUMERS]
    yield Program(served, scratch, {ADMIN_KEY_VARIABLE: key})
    yield Program(["log", "collect", str(log), "--out", str(mon), "--follow"], scratch, is_told=False)
    yield Program(["monitor", str(mon), "--port", "0", "--log", str(log)], scratch)


def _first_days(log: Path, mon: Path, repository: Path) -> None:
    """Collect the first requests, and have MON look as if days had gone by before, with the same ones."""
    while not collect(log, mon):
        time.sleep(1.0)
    rows, key = rows_in(mon), chain_key(repository / "cascade/1")
    today = int(time.time() // DAY_S)
    for day in range(today - NUM_DAYS, today):
        names = [f"day-{day}-{place}" for place in range(rows.num_rows)]
        own = {
            "request_id": pa.array(names),
            "slate_key": pa.array([hashlib.blake2b(name.encode(), digest_size=16).digest() for name in names]),
        }
        table = rows
        for column, values in own.items():
            table = table.set_column(table.column_names.index(column), column, values.cast(rows[column].type))
        write_day(mon, table, day, key)


@contextmanager
def _sampled(watched: Watched) -> Iterator[list[Sample]]:
    samples: list[Sample] = []
    done, began_at = threading.Event(), time.monotonic()

    def watch() -> None:
        while not done.wait(SAMPLE_S):
            samples.append(sampled(watched, began_at))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()


def _until_collected(mon: Path, clients: Clients) -> None:
    until = time.monotonic() + COLLECTED_WITHIN_S
    while time.monotonic() < until:
        if set(clients.answered) <= set(rows_in(mon)["request_id"].to_pylist()):
            return
        time.sleep(5.0)
