"""Several processes that train one model: gradients averaged, one of them writes. TensorFlow is imported inside.

TensorFlow's collective operations carry the data (NCCL between GPUs, gRPC between CPUs). The strategy object only
starts them: under its scope Merlin's layers fail, so every process keeps plain variables, which stay equal because all
start from the first process's and all apply the same averaged gradients.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.training.processes import Processes
from models.training.rendezvous import meet
from workflows.core import console
from workflows.core.artefacts import Manifest
from workflows.core.errors import CascadeError, ConfigError
from workflows.core.quiet import quiet
from workflows.core.run import Run, run_stage

__all__ = ["Team", "run_stage_together"]

# Collectives of the training device and of the host: two groups, so that NCCL never sees what only Python needs.
GRADIENTS, HOST = 1, 2

T = TypeVar("T")


class Team:
    """All processes of one training, as one of them sees them; alone, every method does nothing."""

    def __init__(self, processes: Processes | None = None) -> None:
        """Describe the team; `connect` makes it meet."""
        self.processes = processes or Processes()
        self.size, self.is_chief, self.shard = self.processes.size, self.processes.is_chief, self.processes.shard
        self._strategy: Any = None
        self._calls = 0

    def connect(self, kind: Literal["cpu", "gpu"], fingerprint: str) -> None:
        """Wait for the others and start the collectives; before TensorFlow computes anything.

        Args:
            kind: what this process trains on. With "gpu" it sees one GPU afterwards: the one of its local rank.
            fingerprint: of what it is about to train.

        Raises:
            ConfigError: a port is in use, the processes differ in what they train, or there is no GPU for this one.
            CascadeError: a process did not come.
        """
        if self.size == 1:
            return
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU") if kind == "gpu" else []
        tf.config.set_visible_devices(_own_gpu(gpus, self.processes.local_rank), "GPU")
        meet(self.processes.addresses, self.processes.rank, fingerprint)
        cluster = tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec({"worker": list(self.processes.addresses)}),
            task_type="worker",
            task_id=self.processes.rank,
            num_accelerators={"GPU": int(kind == "gpu")},
            rpc_layer="grpc",
        )
        self._strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=cluster)
        with tf.device("/CPU:0"):
            self._step_calls = tf.Variable(0, dtype=tf.int32, trainable=False)
        console.say(f"{self.size} processes train together, each on its share of the examples")

    def average(self, gradients: Sequence[Any]) -> list[Any]:
        """The mean of each gradient over the processes; for use inside a graph function.

        Args:
            gradients: dense tensors, tf.IndexedSlices (which stay such, with the rows of all processes) or None, in the
                same order everywhere. Slices have equally many rows in every process, as equal batches give.

        Returns:
            As many, in the same order.
        """
        if self.size == 1:
            return list(gradients)
        import tensorflow as tf

        result = list(gradients)
        dense = [i for i, gradient in enumerate(gradients) if isinstance(gradient, tf.Tensor)]
        done: list[Any] = []
        if dense:
            # One message for all: many small ones would each pay the latency.
            flat = tf.concat([tf.reshape(gradients[i], [-1]) for i in dense], axis=0)
            mean = self._collective("CollectiveReduceV2", flat, done, merge_op="Add", final_op="Div")
            parts = tf.split(mean, [tf.size(gradients[i]) for i in dense])
            for i, part in zip(dense, parts, strict=True):
                result[i] = tf.reshape(part, tf.shape(gradients[i]))
        for i, gradient in enumerate(gradients):
            if isinstance(gradient, tf.IndexedSlices):
                values = self._collective("CollectiveGatherV2", gradient.values, done)
                rows = self._collective("CollectiveGatherV2", gradient.indices, done)
                result[i] = tf.IndexedSlices(values / self.size, rows, gradient.dense_shape)
        return result

    def copy(self, variables: Sequence[Any]) -> None:
        """Give every process the values that the first one's variables have."""
        if self.size > 1:
            for variable in variables:
                variable.assign(self._sum(variable.numpy() if self.is_chief else np.zeros_like(variable.numpy())))

    def stack(self, value: NDArray) -> NDArray:
        """Every process's array, by rank: [size, ...]."""
        if self.size == 1:
            return value[None]
        stacked = np.zeros((self.size, *value.shape), value.dtype)
        stacked[self.processes.rank] = value
        return self._sum(stacked)

    def unstack(self, stacked: NDArray) -> NDArray:
        """This process's part of what the first process's `stack` once gave, [size then, ...].

        Where as many processes were not there then, each gets an equal part of the sum.
        """
        size = int(self.first(lambda: len(stacked), int))
        total = stacked if self.size == 1 or self.is_chief else np.zeros((size, *stacked.shape[1:]), stacked.dtype)
        total = total if self.size == 1 else self._sum(total)
        part: NDArray = total[self.processes.rank] if size == self.size else total.sum(axis=0) / self.size
        return part

    def mean(self, value: float) -> float:
        """The mean of a number over the processes."""
        return value if self.size == 1 else float(self._sum(np.float64(value))) / self.size

    def first(self, compute: Callable[[], T], kind: type[T]) -> T:
        """What the first process computes, told to all: decisions made from it are the same everywhere."""
        if self.size == 1:
            return compute()
        told = np.frombuffer(msgspec.msgpack.encode(compute()), np.uint8) if self.is_chief else np.zeros(0, np.uint8)
        padded = np.zeros(int(self._sum(np.int32(len(told)))), np.int32)
        padded[: len(told)] = told
        return msgspec.msgpack.decode(self._sum(padded).astype(np.uint8).tobytes(), type=kind)

    def wait(self) -> None:
        """Return when all have come here; at once where nothing was connected."""
        if self._strategy is not None:
            self._sum(np.int32(0))

    def _sum(self, value: Any) -> NDArray:
        import tensorflow as tf

        self._calls += 1
        with tf.device("/CPU:0"):
            total = tf.raw_ops.CollectiveReduceV2(
                input=tf.convert_to_tensor(value),
                group_size=self.size,
                group_key=HOST,
                instance_key=self._calls,
                ordering_token=[],
                merge_op="Add",
                final_op="Id",
            )
        return np.asarray(total)

    def _collective(self, name: str, value: Any, done: list[Any], **options: str) -> Any:
        """One collective after those in `done`: all processes must start them in the same order."""
        import tensorflow as tf

        with tf.control_dependencies(done):
            found = getattr(tf.raw_ops, name)(
                input=value,
                group_size=self.size,
                group_key=GRADIENTS,
                instance_key=self._step_calls.assign_add(1),  # never used twice
                ordering_token=[],
                **options,
            )
        done.append(found)
        return found


def run_stage_together(
    run: Run,
    stage: str,
    *,
    config: Mapping[str, Any],
    after: Sequence[str],
    body: Callable[[Path | None, Team], Mapping[str, Any]],
    inputs: Mapping[str, Any] | None = None,
    volatile: Sequence[str] = (),
    force: bool = False,
) -> Manifest:
    """`run_stage` by all processes of a launcher, or by this one alone.

    The first process writes the folder and prints; for the others `body` gets None instead of the folder. Nothing of
    the run changes before all have met in the body, so each finds the same stages finished. They end together.

    Raises:
        ConfigError: the launcher's variables contradict each other.
        CascadeError: another process ended early; and what `run_stage` and `body` raise.
    """
    team = Team(Processes.from_environment())

    def help_the_first() -> None:
        body(None, team)
        team.wait()

    with _one_sentence_when_left(team, stage):
        manifest = run_stage(
            run,
            stage,
            config=config,
            after=after,
            body=lambda folder: body(folder, team),
            inputs=inputs,
            volatile=volatile,
            helper=None if team.is_chief else help_the_first,
            force=force,
        )
        if team.is_chief:
            team.wait()
    return manifest


@contextmanager
def _one_sentence_when_left(team: Team, stage: str) -> Iterator[None]:
    """Only the first process prints; the loss of another one is one sentence instead of TensorFlow's page."""
    if team.size == 1:
        yield
        return
    quiet(log_level="3")
    if not team.is_chief:
        console.hush()
    try:
        yield
    except Exception as error:
        if not _is_loss(error):
            raise
        raise CascadeError(
            f"{stage}: process {team.processes.rank + 1} of {team.size} lost another one, whose own message says why; "
            "start all again, and training goes on after the last finished epoch"
        ) from None


def _is_loss(error: Exception) -> bool:
    if "tensorflow" not in sys.modules:
        return False
    from tensorflow import errors

    return isinstance(
        error, (errors.UnavailableError, errors.AbortedError, errors.CancelledError, errors.DeadlineExceededError)
    )


def _own_gpu(gpus: list[Any], local_rank: int) -> list[Any]:
    """The GPU of this process: number local_rank, or the only one that its launcher lets it see."""
    if not gpus:
        return []
    if len(gpus) == 1 and os.environ.get("CUDA_VISIBLE_DEVICES"):
        return gpus
    if local_rank >= len(gpus):
        raise ConfigError(
            f"process number {local_rank} of this machine found {len(gpus)} GPU(s); start one process a GPU, or use "
            "device = 'cpu'"
        )
    return [gpus[local_rank]]
