"""Which process this is among those that a launcher started for one training, and where the others listen."""

from __future__ import annotations

import os
from typing import NamedTuple

import msgspec

from models.dataset.shard import Shard
from workflows.core.errors import ConfigError

__all__ = ["Processes"]

# torchrun's own rendezvous listens on MASTER_PORT, so the workers take the ports after it.
DEFAULT_MASTER_PORT = 29500
LAST_PORT = 65535
CLUSTER_EXAMPLE = '{"cluster": {"worker": ["host-a:29501", "host-b:29501"]}, "task": {"type": "worker", "index": 0}}'


class _Launcher(NamedTuple):
    """The variables of one kind of launcher."""

    rank: str
    size: str
    local_rank: str
    local_size: str


LAUNCHERS = (
    _Launcher("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    _Launcher(*(f"OMPI_COMM_WORLD_{name}" for name in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE"))),
    _Launcher(*(f"HOROVOD_{name}" for name in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE"))),
)


class _Task(msgspec.Struct, frozen=True):
    index: int
    type: str = "worker"


class _Cluster(msgspec.Struct, frozen=True):
    chief: list[str] = []
    worker: list[str] = []


class _TensorFlowConfig(msgspec.Struct, frozen=True):
    cluster: _Cluster
    task: _Task | None = None


class Processes(msgspec.Struct, frozen=True):
    """This process among all that train one model.

    Attributes:
        rank: 0 to size - 1; the process of rank 0 is the chief: it alone writes and reports.
        size: how many there are.
        local_rank: the same within this machine; decides the GPU.
        addresses: host:port of each, by rank; empty when there is only one.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    addresses: tuple[str, ...] = ()

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the stage folder and speaks."""
        return self.rank == 0

    @property
    def shard(self) -> Shard:
        """This process's share of the training examples."""
        return Shard(self.rank, self.size)

    @classmethod
    def from_environment(cls) -> Processes:
        """Read the launcher's variables; without any, this is the only process.

        TF_CONFIG names the address of every process; its task may be left out where a launcher gives the rank. Without
        it all processes run on this machine and listen on 127.0.0.1, at MASTER_PORT + 1 + rank.

        Raises:
            ConfigError: variables that contradict each other, or several machines without TF_CONFIG.
        """
        launcher, rank, size = _launched()
        cluster = _tensorflow_cluster()
        if cluster is not None:
            return cls._of_cluster(cluster, launcher, rank, size)
        if size == 1:
            return cls()
        local_rank = _number(launcher.local_rank, rank) if launcher else rank
        local_size = _number(launcher.local_size, size) if launcher else size
        if local_rank != rank or local_size != size:
            raise ConfigError(
                f"{size} processes on several machines (this one is number {local_rank} of {local_size} on its own): "
                f"expected TF_CONFIG with the address of each, for example {CLUSTER_EXAMPLE}"
            )
        base = _number("MASTER_PORT", DEFAULT_MASTER_PORT) + 1
        if not 1 < base <= LAST_PORT + 1 - size:
            raise ConfigError(f"MASTER_PORT={base - 1}: expected 1 to {LAST_PORT - size}, for {size} ports after it")
        return cls(rank, size, local_rank, tuple(f"127.0.0.1:{base + r}" for r in range(size)))

    @classmethod
    def _of_cluster(
        cls, config: _TensorFlowConfig, launcher: _Launcher | None, launched_rank: int, launched_size: int
    ) -> Processes:
        addresses = (*config.cluster.chief, *config.cluster.worker)
        size, rank = len(addresses), launched_rank
        if config.task is not None:
            rank = config.task.index + (len(config.cluster.chief) if config.task.type == "worker" else 0)
        elif launcher is None and size > 1:
            raise ConfigError("TF_CONFIG has no task and no launcher gave a rank; add its type and index")
        if not 0 <= rank < size:
            raise ConfigError(f"TF_CONFIG: task {rank} of {size}: expected an index within the cluster")
        if launcher is not None and (rank, size) != (launched_rank, launched_size):
            raise ConfigError(
                f"TF_CONFIG makes this process {rank} of {size}, but {launcher.rank}={launched_rank} and "
                f"{launcher.size}={launched_size}; unset the one that is not meant"
            )
        if size == 1:
            return cls()
        hosts = [address.rpartition(":")[0] for address in addresses]
        local_rank = hosts[:rank].count(hosts[rank])
        return cls(rank, size, _number(launcher.local_rank, local_rank) if launcher else local_rank, addresses)


def _launched() -> tuple[_Launcher | None, int, int]:
    """The launcher, rank and size that the variables announce; (None, 0, 1) without a launcher."""
    found: list[tuple[_Launcher, int, int]] = []
    for names in LAUNCHERS:
        if names.rank not in os.environ or names.size not in os.environ:
            continue
        rank, size = os.environ[names.rank], os.environ[names.size]
        if not (rank.isdigit() and size.isdigit() and int(rank) < int(size)):
            raise ConfigError(f"{names.rank}={rank} and {names.size}={size}: expected 0 <= rank < size")
        found.append((names, int(rank), int(size)))
        first = found[0]
        if found[-1][1:] != first[1:]:
            raise ConfigError(
                f"{first[0].rank}={first[1]} and {first[0].size}={first[2]}, but {names.rank}={rank} and "
                f"{names.size}={size}; unset the variables of the launcher that did not start this process"
            )
    return found[0] if found else (None, 0, 1)


def _tensorflow_cluster() -> _TensorFlowConfig | None:
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return None
    try:
        config = msgspec.json.decode(text, type=_TensorFlowConfig, strict=False)
    except msgspec.DecodeError as error:
        raise ConfigError(f"TF_CONFIG cannot be read ({error}); expected, for example, {CLUSTER_EXAMPLE}") from None
    addresses = [*config.cluster.chief, *config.cluster.worker]
    if not addresses or not all(a.rpartition(":")[0] and a.rpartition(":")[2].isdigit() for a in addresses):
        raise ConfigError(f"TF_CONFIG: expected host:port of each worker, got {addresses}")
    if config.task is not None and config.task.type not in ("chief", "worker"):
        raise ConfigError(f"TF_CONFIG: task type {config.task.type!r}: expected 'worker' or 'chief'")
    return config


def _number(name: str, default: int) -> int:
    text = os.environ.get(name)
    if text is None:
        return default
    if not text.isdigit():
        raise ConfigError(f"{name}={text}: expected a whole number")
    return int(text)
