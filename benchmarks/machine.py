"""The machine that a figure was measured on, as far as it may be published: no host name, no path."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path

import msgspec

from workflows.core.device import num_gpus

__all__ = ["Machine", "this_machine"]

LIBRARIES = (
    *("numpy", "pandas", "polars", "pyarrow", "nvtabular", "merlin-models", "merlin-systems"),
    *("tensorflow-cpu", "tensorflow", "torch", "faiss-cpu", "faiss-gpu-cu12", "onnxruntime"),
    *("nvidia-pytriton", "tritonclient"),
)
GPU_QUERY_S = 10


class Machine(msgspec.Struct, frozen=True):
    """What bounds speed here.

    Attributes:
        cpu: model name.
        num_cores: cores that this process may use.
        memory_bytes: of the machine.
        gpu: name of the first GPU; null without one.
        python: version.
        libraries: versions of those that are installed.
    """

    cpu: str
    num_cores: int
    memory_bytes: int
    gpu: str | None
    python: str
    libraries: dict[str, str]


def this_machine() -> Machine:
    """Look at the machine that this process runs on."""
    return Machine(
        cpu=_cpu(),
        num_cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        gpu=_gpu(),
        python=platform.python_version(),
        libraries=_libraries(),
    )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _gpu() -> str | None:
    if not num_gpus() or shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=GPU_QUERY_S, check=False)
    return done.stdout.splitlines()[0].strip() if done.returncode == 0 and done.stdout.strip() else None


def _libraries() -> dict[str, str]:
    installed = {}
    for name in LIBRARIES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed
