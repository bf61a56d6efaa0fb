"""The variants that are measured, each a way to have a load answered."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from benchmarks.serving.usage import cpu_seconds, resident_bytes
from benchmarks.serving.worker import Slice, Worker
from cascade_client.address import Protocol as WireProtocol
from ensemble.serving.triton import TritonServer

__all__ = [
    "FULL_BATCH",
    "LOADS",
    "MANY",
    "ONE",
    "PROTOCOLS",
    "SEVERAL",
    "Load",
    "LoopVariant",
    "ServedVariant",
    "Server",
    "Variant",
    "started",
]


PROTOCOLS: tuple[WireProtocol, ...] = ("grpc", "http")


class Load(msgspec.Struct, frozen=True):
    """How requests are sent to a variant: `clients` at once, each waiting for its answer; `batch` users a request."""

    name: str
    clients: int
    batch: int


ONE = Load("1 client, 1 user", 1, 1)
SEVERAL = Load("16 clients, 1 user each", 16, 1)
MANY = Load("64 clients, 1 user each", 64, 1)
# More than one client, so that the server has work while an answer travels.
FULL_BATCH = Load("4 clients, 32 users each", 4, 32)
LOADS = (ONE, SEVERAL, MANY, FULL_BATCH)


class Variant(Protocol):
    """Something that answers loads."""

    name: str

    def takes(self, load: Load) -> bool:
        """Whether the load makes sense here."""

    def run(self, load: Load, seconds: float) -> tuple[Slice, float]:
        """Load it for a while: what came, and the processor time that answering took."""


class Server:
    """A started Triton server and what was seen of it.

    Args:
        server: ready.
        ready_s: from its start to ready.
    """

    def __init__(self, server: TritonServer, ready_s: float) -> None:
        self.ports, self.pid, self.ready_s = server.ports, server.pid, ready_s
        self.grpc_url, self.http_url = server.grpc_url, server.http_url

    def resident_bytes(self) -> int:
        """Of all its processes."""
        return resident_bytes(self.pid)


class ServedVariant:
    """A server over one protocol.

    Args:
        name: of the model repository.
        protocol: "grpc" or "http".
        server: ready.
        generator: the load generator.
        largest: most users a request.
    """

    def __init__(
        self,
        name: str,
        protocol: WireProtocol,
        server: Server,
        generator: Worker,
        largest: int = 1 << 30,
    ) -> None:
        self.name = f"{name}, {'gRPC' if protocol == 'grpc' else 'HTTP'}"
        self._protocol, self._server, self._generator, self._largest = (
            protocol,
            server,
            generator,
            largest,
        )

    def takes(self, load: Load) -> bool:
        """Every load whose requests are small enough."""
        return load.batch <= self._largest

    def run(self, load: Load, seconds: float) -> tuple[Slice, float]:
        """See Variant."""
        before = cpu_seconds(self._server.pid)
        found = self._generator.slice(
            protocol=self._protocol,
            port=self._server.ports[self._protocol],
            clients=load.clients,
            batch=load.batch,
            seconds=seconds,
        )
        return found, cpu_seconds(self._server.pid) - before


class LoopVariant:
    """A chain in a plain loop, no server.

    Args:
        name: of the chain.
        worker: whose jobs take "batch" and "seconds".
        largest: most users a request.
    """

    def __init__(self, name: str, worker: Worker, largest: int = 1 << 30) -> None:
        self.name = name
        self._worker, self._largest = worker, largest

    def takes(self, load: Load) -> bool:
        """A loop is one client; of the many-client loads only the size of the requests counts."""
        return load.batch <= self._largest and (load.clients == 1 or load.batch > 1)

    def run(self, load: Load, seconds: float) -> tuple[Slice, float]:
        """See Variant."""
        found = self._worker.slice(batch=load.batch, seconds=seconds)
        return found, found.own_cpu_s


@contextmanager
def started(repository: Path) -> Iterator[Server]:
    """A server on a repository, with the time that it took to be ready."""
    started_at = time.perf_counter()
    with TritonServer(repository) as server:
        yield Server(server, time.perf_counter() - started_at)
