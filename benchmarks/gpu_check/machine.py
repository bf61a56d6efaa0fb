"""What the machine is, and the two rates that everything else is compared with."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import platform
import subprocess
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.gpu_check.parts import Settings, device_of
from benchmarks.gpu_check.timing import timed
from runtime.device.device import Device

__all__ = ["bandwidth", "matrix_rate", "measure"]

PACKAGES = ("numpy", "cupy-cuda13x", "cupy-cuda12x", "onnxruntime", "torch", "faiss-cpu")
COPIED_BYTES = 2 << 30
MATRIX = 8192


def measure(settings: Settings) -> Iterator[dict[str, Any]]:
    """Names and versions, then the rates."""
    device = device_of(settings)
    found: dict[str, Any] = {
        "name": device.name,
        "python": platform.python_version(),
        "driver": _driver(),
        "packages": _packages(),
    }
    yield found
    if device.xp is not np:
        # Which libraries and headers CuPy found, should a later part miss one.
        found["cupy"] = _config(device.xp)
        yield found
    found["free_gib"] = device.free_bytes() / 2**30
    found["copy_tb_per_s"] = bandwidth(device, settings["scale"]) / 1e12
    yield found
    found["float32_tflops"] = matrix_rate(device, settings["scale"]) / 1e12
    yield found


def bandwidth(device: Device, scale: float = 1.0) -> float:
    """Bytes read and written a second by a copy within the device's memory."""
    source = device.xp.zeros(int(COPIED_BYTES * scale) // 4, np.float32)
    target = device.xp.empty_like(source)

    def copy() -> None:
        target[:] = source

    return float(2 * source.nbytes / (timed(device, copy, 1)["p50_ms"] / 1e3))


def matrix_rate(device: Device, scale: float = 1.0) -> float:
    """Operations a second of a product of two float32 matrices."""
    size = max(int(MATRIX * scale), 64)
    left = device.put(np.random.default_rng(0).normal(size=(size, size)), np.float32)
    return float(2 * size**3 / (timed(device, lambda: left @ left, 1)["p50_ms"] / 1e3))


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _config(cupy: Any) -> str:
    """What cupy.show_config() prints."""
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(Exception):
        cupy.show_config()
    return said.getvalue()


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
