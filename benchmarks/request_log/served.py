"""A server that logs beside one that does not: the same requests in turn, then every logged one asked again."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
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

__all__ = ["Replays", "Slices", "bodies_of", "measure_replays", "measure_slices", "named"]

WARM = 200


class Slices(NamedTuple):
    """Of each slice the ratio, with a log over without: of median latency, and of the server's processor time."""

    share: float
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


def measure_slices(
    repository: Path, questions: Questions, share: float, slices: int, requests: int, scratch: Path
) -> Slices:
    """Ask both servers for the same users, one at a time, in slices whose order turns."""
    settings = LogSettings(scratch / "LOG", share)
    prepare_log(settings, repository)
    bodies = bodies_of(questions, requests)
    latency, cpu = [], []
    with TritonServer(repository) as plain, TritonServer(repository, request_log=settings) as logging:
        servers = [plain, logging]
        for server in servers:
            _ask(server, bodies[:WARM], "warm")
        for number in range(slices):
            found = {}
            for server in servers if number % 2 else servers[::-1]:
                before = cpu_seconds(server.pid)
                found[server is logging] = _ask(server, bodies, f"{number}"), cpu_seconds(server.pid) - before
            latency.append(float(np.median(found[True][0]) / np.median(found[False][0])))
            cpu.append(found[True][1] / max(found[False][1], 1e-9))
    return Slices(share, latency, cpu)


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
