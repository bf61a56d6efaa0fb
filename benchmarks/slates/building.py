"""How fast slates are built, beside the users a second that the chain serves to a client that decodes nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.load import MODEL, generate
from benchmarks.serving.usage import cpu_seconds
from ensemble.serving.triton import TritonServer
from ensemble.slates.ask import IN_FLIGHT, USERS_AT_ONCE
from ensemble.slates.build import Options, build

__all__ = ["Built", "body_of", "measure_building"]


class Built(NamedTuple):
    """One round: users a second of a build, and of the chain alone; the build's milliseconds of a core for each user.

    Those of the server, and those of the build itself, are on the same machine.
    """

    built_per_s: float
    chain_per_s: float
    server_cpu_ms: float
    build_cpu_ms: float


def measure_building(
    run: Path,
    server: TritonServer,
    events: Path,
    cache: str,
    users: NDArray,
    num_items: int,
    rounds: int,
    seconds: float,
) -> list[Built]:
    """Build all slates of a run again and again, and load the chain in between.

    Args:
        run: exported.
        server: on it.
        events: its folder of live events.
        cache: URL of the cache.
        users: raw ids.
        num_items: of a slate.
        rounds: builds.
        seconds: for which the chain is loaded, each time.

    Raises:
        RuntimeError: the server refused a request.
    """
    bodies = [body_of(users[start : start + USERS_AT_ONCE], num_items) for start in range(0, len(users), USERS_AT_ONCE)]
    _chain(bodies, server, seconds / 5)
    found = []
    for _ in range(rounds):
        chain = _chain(bodies, server, seconds)
        before = cpu_seconds(server.pid), time.process_time()
        built = build(str(run), cache, Options(num_items=num_items), url=server.grpc_url, events=events)
        after = cpu_seconds(server.pid), time.process_time()
        cpu_ms = [1_000 * (end - start) / len(users) for start, end in zip(before, after, strict=True)]
        found.append(Built(built, chain, *cpu_ms))
    return found


def _chain(bodies: Sequence[bytes], server: TritonServer, seconds: float) -> float:
    measured = asyncio.run(generate(bodies, "grpc", server.ports["grpc"], IN_FLIGHT, USERS_AT_ONCE, seconds))
    if measured.error:
        raise RuntimeError(f"the server refused a request: {measured.error}")
    return measured.num_users / measured.wall_s


def body_of(users: NDArray, num_items: int) -> bytes:
    """A serialised gRPC request for the slates of users, by raw id."""
    from tritonclient.grpc import service_pb2
    from tritonclient.utils import serialize_byte_tensor

    is_text = users.dtype.kind == "S"
    request = service_pb2.ModelInferRequest(model_name=MODEL)
    request.inputs.add(name="user_id", datatype="BYTES" if is_text else "INT64", shape=[len(users), 1])
    request.raw_input_contents.append(
        serialize_byte_tensor(users.astype(object)).item() if is_text else users.astype(np.int64).tobytes()
    )
    request.inputs.add(name="slate_size", datatype="INT32", shape=[len(users), 1])
    request.raw_input_contents.append(np.full(len(users), num_items, np.int32).tobytes())
    body: bytes = request.SerializeToString()
    return body
