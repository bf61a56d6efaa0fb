"""Which device a stage runs on, chosen once at its start, with the reason."""

from __future__ import annotations

import ctypes
import importlib.util
from functools import lru_cache
from typing import Literal

import msgspec

from workflows.core import console
from workflows.core.errors import ConfigError

__all__ = ["Device", "DeviceKind", "announce", "choose", "num_gpus"]

DeviceKind = Literal["auto", "cpu", "gpu"]
GPU_PACKAGE = {
    "cudf": "cudf (NVTabular on GPU)",
    "tensorflow": "TensorFlow",
    "faiss": "FAISS with GPU support",
    "cupy": "CuPy",
}


class Device(msgspec.Struct, frozen=True):
    """A device and why it was chosen."""

    kind: Literal["cpu", "gpu"]
    reason: str


@lru_cache(maxsize=1)
def num_gpus() -> int:
    """Number of CUDA devices that the driver reports; 0 without a driver."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def choose(requested: DeviceKind, library: str) -> Device:
    """Choose the device of a stage that computes with `library` ("cudf", "tensorflow" or "faiss").

    Raises:
        ConfigError: a GPU was asked for and there is none that the library can use.
    """
    if requested == "cpu":
        return Device("cpu", "asked for by the config")
    missing = _why_no_gpu(library)
    if missing is None:
        return Device("gpu", f"{num_gpus()} CUDA device(s) found")
    if requested == "gpu":
        raise ConfigError(f"device = 'gpu' was asked for, but {missing}; use device = 'auto' or 'cpu'")
    return Device("cpu", missing)


def announce(stage: str, device: Device) -> None:
    """Print the device and the reason."""
    console.say(f"{stage}: on {device.kind.upper()} ({device.reason})")


def _why_no_gpu(library: str) -> str | None:
    if num_gpus() == 0:
        return "no CUDA device was found"
    if importlib.util.find_spec(library) is None:
        return f"{GPU_PACKAGE.get(library, library)} is not installed"
    if library == "tensorflow":
        import tensorflow as tf

        return None if tf.config.list_physical_devices("GPU") else "this TensorFlow build sees no GPU"
    if library == "faiss":
        import faiss

        return None if hasattr(faiss, "StandardGpuResources") else "this FAISS build has no GPU support"
    return None
