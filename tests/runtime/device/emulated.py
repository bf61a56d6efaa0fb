"""kernels.cu as a shared library for this processor, launched as CuPy would launch it."""

from __future__ import annotations

import ctypes
import functools
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from runtime.device.device import Device
from runtime.device.kernels import SOURCE, CudaKernels, Kernels, options

HEADER = Path(__file__).with_name("cuda_on_cpu.h")
KERNEL = re.compile(r'extern "C" __global__ void (\w+)\(([^)]*)\)')
DYNAMIC = "extern __shared__ uint64 chosen[];"


def compiler() -> str | None:
    """The C++ compiler of this machine."""
    return shutil.which("g++")


def emulated(folder: Path) -> Device:
    """A device that runs the CUDA kernels on the processor, over NumPy arrays.

    Args:
        folder: where the libraries are built.
    """

    @functools.cache
    def kernels(dim: int, chunk: int, is_half: bool) -> Kernels:
        library = ctypes.CDLL(str(_built(folder, options(dim, chunk, is_half))))
        return CudaKernels(np, functools.partial(_function, library))

    return Device("kernels.cu on a processor", np, kernels, np.asarray, lambda: 1 << 34)


def _built(folder: Path, macros: tuple[str, ...]) -> Path:
    source = SOURCE.read_text()
    assert DYNAMIC in source
    lines = ['#include "cuda_on_cpu.h"', source.replace(DYNAMIC, "uint64* chosen = dynamic_shared.data();")]
    for name, arguments in KERNEL.findall(source):
        names = ", ".join(re.findall(r"(\w+)\s*(?:,|$)", arguments))
        lines.append(
            f'extern "C" void run_{name}(int grid, int block, size_t shared, {arguments}) '
            f"{{ launch(grid, block, shared, [=] {{ {name}({names}); }}); }}"
        )
    stem = "_".join(macros).replace("-D", "").replace("=", "")
    (folder / f"{stem}.cpp").write_text("\n".join(lines))
    target = folder / f"{stem}.so"
    command = [
        "g++",
        "-std=c++17",
        "-O1",
        "-w",
        *(["-msse3"] if platform.machine() == "x86_64" else []),
        "-fPIC",
        "-shared",
        "-ffp-contract=off",
        *macros,
    ]
    subprocess.run([*command, f"-I{HEADER.parent}", str(folder / f"{stem}.cpp"), "-o", str(target)], check=True)
    return target


def _function(library: ctypes.CDLL, name: str) -> Callable[..., None]:
    run = getattr(library, f"run_{name}")

    def launch(grid: tuple[int], block: tuple[int], args: tuple[Any, ...], shared_mem: int = 0) -> None:
        run(ctypes.c_int(grid[0]), ctypes.c_int(block[0]), ctypes.c_size_t(shared_mem), *map(_argument, args))

    return launch


def _argument(value: Any) -> Any:
    """As CuPy passes it: arrays by their address, NumPy scalars by their type; nothing else is sure of its size."""
    if isinstance(value, np.ndarray):
        assert value.flags.c_contiguous
        return ctypes.c_void_p(value.ctypes.data)
    return {np.int32: ctypes.c_int32, np.int64: ctypes.c_int64, np.uint64: ctypes.c_uint64, np.float32: ctypes.c_float}[
        type(value)
    ](value.item())
