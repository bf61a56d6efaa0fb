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
from tests.runtime.device.card import CardArray, CardModule

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
        return CudaKernels(np, functools.partial(_function, library, is_half))

    return Device("kernels.cu on a processor", np, kernels, np.asarray, lambda: 1 << 34)


def strict(folder: Path) -> Device:
    """The same over arrays that mix with no array of the host, as CuPy's."""

    @functools.cache
    def kernels(dim: int, chunk: int, is_half: bool) -> Kernels:
        library = ctypes.CDLL(str(_built(folder, options(dim, chunk, is_half))))
        return CudaKernels(CardModule(), functools.partial(_function, library, is_half))

    def to_host(array: CardArray) -> np.ndarray:
        assert isinstance(array, CardArray)
        return array.array.copy()

    return Device("kernels.cu over a card's arrays", CardModule(), kernels, to_host, lambda: 1 << 34)


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


def _function(library: ctypes.CDLL, is_half: bool, name: str) -> Callable[..., None]:
    run = getattr(library, f"run_{name}")
    arguments = next(found for kernel, found in KERNEL.findall(SOURCE.read_text()) if kernel == name)
    kinds = [" ".join(argument.split()[:-1]).removeprefix("const ") for argument in arguments.split(",")]
    dtypes = [_dtype(kind, is_half) for kind in kinds]

    def launch(grid: tuple[int], block: tuple[int], args: tuple[Any, ...], shared_mem: int = 0) -> None:
        made = map(_argument, args, kinds, dtypes)
        run(ctypes.c_int(grid[0]), ctypes.c_int(block[0]), ctypes.c_size_t(shared_mem), *made)
        assert len(args) == len(kinds), name

    return launch


def _dtype(kind: str, is_half: bool) -> np.dtype:
    """Of a parameter of a kernel, or of what it points to."""
    names = {"int": "int32", "float": "float32", "double": "float64", "ITEM": "float16" if is_half else "float32"}
    kind = kind.removesuffix("*")
    return np.dtype(names.get(kind, kind))


def _argument(value: Any, kind: str, dtype: np.dtype) -> Any:
    """As CuPy passes it: arrays by their address, NumPy scalars by their type; nothing else is sure of its size."""
    array = value.array if isinstance(value, CardArray) else value
    if isinstance(array, np.ndarray):
        assert kind.endswith("*") and array.flags.c_contiguous and array.dtype == dtype, (kind, array.dtype)
        return ctypes.c_void_p(array.ctypes.data)
    if kind.endswith("*"):
        assert type(value) is np.uint64, (kind, type(value))
        return ctypes.c_uint64(value.item())
    assert value.dtype == dtype, (kind, value.dtype)
    return {np.int32: ctypes.c_int32, np.int64: ctypes.c_int64, np.float32: ctypes.c_float}[type(value)](value.item())
