"""A server that logs beside one that does not: the same requests in turn, then every logged one asked again."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.serving.load import CHANNEL_OPTIONS, HOST, METHOD, MODEL
from benchmarks.serving.questions import Questions
from benchmarks.serving.usage import cpu_seconds
from ensemble.serving.request_log import prepare_log
from ensemble.serving.triton import TritonServer
from operations.folder import STATUS, read_json
from operations.log.collect import collect
from operations.replay.replay import replay
from runtime.log.folder import LogSettings

__all__ = ["Replays", "Rounds", "bodies_of", "measure_replays", "measure_rounds", "named"]

WARM = 200


class Rounds(NamedTuple):
    """Of each round the ratio to a server without a log: of median latency, and of the server's processor time.

    `share`: what is logged; None: this server has no log either, which shows how far two servers differ by chance.
    """

    share: float | None
    latency: list[float]
    cpu: list[float]


class Replays(NamedTuple):
    """What came of asking again."""

    layout: str
    num_logged: int
    num_identical: int
    rows_per_s: float
    cpu_ratio: float
    bytes_a_row: float


def measure_rounds(
    repository: Path,
    questions: Questions,
    shares: Sequence[float],
    sizes: tuple[int, int, int],
    scratch: Path,
) -> list[Rounds]:
    """Ask servers with and without a log for the same users, one at a time, in slices whose order turns.

    Two processes of one program differ by some percent for as long as they live, so each round starts all of them anew.

    Args:
        repository: what they serve.
        questions: users and contexts.
        shares: what each logs; one without a log stands beside them, and one that all are compared with.
        sizes: rounds, slices of each server in a round, requests of a slice.
        scratch: an empty folder.

    Returns:
        First that of the server without a log, then one for each share.
    """
    num_rounds, num_slices, num_requests = sizes
    bodies = bodies_of(questions, num_requests)
    found = [Rounds(share, [], []) for share in (None, *shares)]
    for number in range(num_rounds):
        settings = [None, None, *(LogSettings(scratch / f"LOG-{share:g}", share) for share in shares)]
        for each in filter(None, settings):
            prepare_log(each, repository)
        order = np.roll(np.arange(len(settings)), number).tolist()
        with ExitStack() as running:
            started = {k: running.enter_context(TritonServer(repository, request_log=settings[k])) for k in order}
            for server in started.values():
                _ask(server, bodies[:WARM], "warm")
            slices = [
                _slice(started, np.roll(order, turn).tolist(), bodies, f"{number}.{turn}") for turn in range(num_slices)
            ]
        for place, rounds in enumerate(found, start=1):
            rounds.latency.append(float(np.median([each[place][0] / each[0][0] for each in slices])))
            rounds.cpu.append(float(np.median([each[place][1] / max(each[0][1], 1e-9) for each in slices])))
    return found


def _slice(
    servers: Mapping[int, TritonServer], order: Sequence[int], bodies: Sequence[bytes], name: str
) -> dict[int, tuple[float, float]]:
    """Median latency, ms, and processor seconds of each server."""
    found = {}
    for place in order:
        before = cpu_seconds(servers[place].pid)
        latency = float(np.median(_ask(servers[place], bodies, name)))
        found[place] = latency, cpu_seconds(servers[place].pid) - before
    return found


def measure_replays(repository: Path, layout: str, questions: Questions, number: int, scratch: Path) -> Replays:
    """Have every request logged, collect them, and ask for them again."""
    settings = LogSettings(scratch / "LOG", 1.0)
    prepare_log(settings, repository)
    bodies = bodies_of(questions, min(number, 2_000))
    with TritonServer(repository, request_log=settings) as server:
        started = cpu_seconds(server.pid)
        for first in range(0, number, len(bodies)):
            _ask(server, bodies[: number - first], f"{first}")
        served_s = cpu_seconds(server.pid) - started
    # Once beforehand: a collector that follows a log loads its libraries once.
    shutil.copytree(settings.folder, scratch / "again")
    collect(scratch / "again", scratch / "before")
    before = time.process_time()
    num_rows = collect(settings.folder, scratch / "MON")
    rate = num_rows / (time.process_time() - before)
    before_all = _all_cpu_s()
    found = replay(scratch / "MON", last=number)
    ratio = (_all_cpu_s() - before_all) / served_s
    size = sum(path.stat().st_size for path in (scratch / "MON/requests").rglob("*.parquet"))
    counted = read_json(scratch / "MON" / STATUS, {})["counts"]
    identical = found.num_requests - len(found.differing) - len(found.rounded)
    return Replays(layout, counted["requests"], identical, rate, ratio, size / num_rows)


def _all_cpu_s() -> float:
    """Processor seconds of this process and of those that it has waited for."""
    found = os.times()
    return found.user + found.system + found.children_user + found.children_system


def bodies_of(questions: Questions, number: int) -> list[bytes]:
    """Serialised gRPC requests of one user each, without an id."""
    from tritonclient.grpc import service_pb2
    from tritonclient.utils import serialize_byte_tensor

    bodies = []
    for place in range(number):
        request = service_pb2.ModelInferRequest(model_name=MODEL)
        for name, array in questions.batch(place, 1).items():
            request.inputs.add(name=name, datatype=questions.datatypes[name], shape=list(array.shape))
            packed = serialize_byte_tensor(array).item() if array.dtype == object else array.tobytes()
            request.raw_input_contents.append(packed)
        bodies.append(request.SerializeToString())
    return bodies


def named(bodies: Sequence[bytes], name: str) -> list[bytes]:
    """The same requests with ids: fields of a message may come in any order."""
    from tritonclient.grpc import service_pb2

    return [
        body + service_pb2.ModelInferRequest(id=f"{name}-{place}").SerializeToString()
        for place, body in enumerate(bodies)
    ]


def _ask(server: TritonServer, bodies: Sequence[bytes], name: str) -> list[float]:
    """Milliseconds of each request; they have ids of their own."""
    import grpc

    latencies, asked = [], named(bodies, name)
    with grpc.insecure_channel(f"{HOST}:{server.ports['grpc']}", CHANNEL_OPTIONS) as channel:
        grpc.channel_ready_future(channel).result()
        call = channel.unary_unary(METHOD)
        for body in asked:
            before = time.perf_counter()
            call(body)
            latencies.append(1e3 * (time.perf_counter() - before))
    return latencies
