"""Which device a stage runs on, chosen once at its start, with the reason."""

from __future__ import annotations

import ctypes
import importlib.util
from functools import lru_cache
from typing import Literal

import msgspec

from workflows.core import console
from workflows.core.errors import ConfigError

__all__ = ["Device", "DeviceKind", "announce", "choose", "num_gpus", "refuse_missing_gpu"]

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


def choose(requested: DeviceKind, library: str, key: str = "device") -> Device:
    """Choose the device of a stage.

    Args:
        requested: as the config has it.
        library: that the stage computes with: "cudf", "tensorflow" or "faiss".
        key: of the config, for the error.

    Raises:
        ConfigError: a GPU was asked for and there is none that the library can use.
    """
    if requested == "cpu":
        return Device("cpu", "asked for by the config")
    missing = _why_no_gpu(library)
    if missing is None:
        return Device("gpu", f"{num_gpus()} CUDA device(s) found")
    if requested == "gpu":
        raise _refusal(key, missing)
    return Device("cpu", missing)


def refuse_missing_gpu(requested: DeviceKind, library: str, key: str) -> None:
    """Refuse what `choose` would, as far as it shows without importing the library.

    Raises:
        ConfigError: a GPU was asked for, and there is none, or the library is not installed.
    """
    if requested == "gpu" and (missing := _what_is_missing(library)) is not None:
        raise _refusal(key, missing)


def _refusal(key: str, missing: str) -> ConfigError:
    return ConfigError(f"{key} = 'gpu' was asked for, but {missing}; set it to 'auto' or 'cpu'")


def announce(stage: str, device: Device) -> None:
    """Print the device and the reason."""
    console.say(f"{stage}: on {device.kind.upper()} ({device.reason})")


def _what_is_missing(library: str) -> str | None:
    if num_gpus() == 0:
        return "no CUDA device was found"
    if importlib.util.find_spec(library) is None:
        return f"{GPU_PACKAGE.get(library, library)} is not installed"
    return None


def _why_no_gpu(library: str) -> str | None:
    if (missing := _what_is_missing(library)) is not None:
        return missing
    if library == "tensorflow":
        import tensorflow as tf

        return None if tf.config.list_physical_devices("GPU") else "this TensorFlow build sees no GPU"
    if library == "faiss":
        import faiss

        return None if hasattr(faiss, "StandardGpuResources") else "this FAISS build has no GPU support"
    return None
