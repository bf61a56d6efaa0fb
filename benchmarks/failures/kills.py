"""What ends while a server is asked: tritonserver, the processes of its models, whoever publishes, and its disk."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.failures import publisher
from benchmarks.failures.stage import Stage
from benchmarks.failures.wire import ask_for_shape
from ensemble.serving.stubs import children
from workflows.core.errors import ServingError

__all__ = ["end_by_a_shape", "fill_disk", "kill_models", "kill_publisher", "kill_server", "small_disk"]

# Seconds into a publication, which takes a second or two.
DELAYS_S = (0.0, 0.1, 0.2, 0.4, 0.8)
FULL_S, DISK_BYTES = 3.0, 96 << 20


def kill_server(stage: Stage) -> str:
    """`kill -9` of tritonserver."""
    stage.kill(_triton(stage))
    return _restarts(stage)


def kill_models(stage: Stage) -> str:
    """`kill -9` of every process of a model, that of the events included."""
    stage.kill(*children(_triton(stage)))
    stage.is_well()
    return f"{sum(stage.counters.dead_processes.values())} processes replaced"


def end_by_a_shape(stage: Stage) -> str:
    """A request whose JSON says that a tensor is of 4 TiB, at which Triton 2.51 ends."""
    ask_for_shape(stage.server, [1, 2**40])
    stage.killed_at.append(time.monotonic())
    return _restarts(stage)


def kill_publisher(stage: Stage) -> str:
    """`kill -9` of a publication at several places, each with a reload; then one that is let be."""
    theatre, said, killed = stage.theatre, "", 0
    for delay_s in DELAYS_S:
        words = [sys.executable, "-m", publisher.__name__]
        words += [str(path) for path in (theatre.config_path, theatre.run.root, stage.repository)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay_s)
        process.kill()
        killed += "done" not in process.communicate()[0]
        said = stage.reload()
    folder = stage.publish()
    said = stage.reload()
    return f"killed {killed} of {len(DELAYS_S)} times before its end; then {said}, published as {folder.name}"


def fill_disk(stage: Stage) -> str:
    """The disk of the log and the events is filled, and has space again later."""
    ballast, block = stage.disk / "ballast", bytes(1 << 16)
    try:
        with ballast.open("wb", buffering=0) as file:
            while file.write(block) == len(block):
                pass
            file.write(block)
    except OSError:
        pass
    time.sleep(FULL_S)
    load = stage.load
    assert load is not None
    refused = sum(number for what, number in load.failed.items() if what.startswith("events"))
    ballast.unlink()
    # A writer that was refused waits before it tries again.
    time.sleep(2 * FULL_S)
    return f"full for {FULL_S:g} s: {refused} requests of events refused"


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A disk of its own in a folder.

    Raises:
        ServingError: this user may not make one.
    """
    folder.mkdir(parents=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    made = subprocess.run(words, capture_output=True, text=True)
    if made.returncode:
        raise ServingError(f"a small disk cannot be made here ({made.stderr.strip()}); run this as root")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _triton(stage: Stage) -> int:
    pid = stage.server.triton_pid
    assert pid is not None and pid != os.getpid()
    return pid


def _restarts(stage: Stage) -> str:
    began_at = time.monotonic()
    # The guard sees the end first, or the server would be asked while it still is as it was.
    while not stage.counters.server_restarts and time.monotonic() - began_at < 60:
        time.sleep(0.05)
    stage.is_well()
    return f"tritonserver started again {stage.counters.server_restarts} times"
