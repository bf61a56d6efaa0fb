"""What computes: a GPU through CuPy, or NumPy in its place."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.device.kernels import SOURCE, CudaKernels, Kernels, Pinned, options
from runtime.device.stand_in import StandIn

__all__ = ["Device", "NoDevice", "cupy_device", "stand_in"]


class NoDevice(Exception):
    """There is no GPU that CuPy can use; the sentence says why."""


def _in_place(array: NDArray) -> Pinned:
    """For a device whose memory is the host's."""
    return Pinned(np.ascontiguousarray(array, np.float32))


@dataclass(frozen=True)
class Device:
    """A device and its array module.

    Attributes:
        name: what it is, for people.
        xp: CuPy, or NumPy.
        kernels: (D, M, whether embeddings are float16) -> what computes on embeddings of chunks [D, M].
        to_host: an array of the device -> NumPy's.
        free_bytes: memory that is free now.
        wait: until everything that was started is done.
        pin: an array [N, D] -> a float32 copy in the host's memory that kernels read in place, over the bus.
    """

    name: str
    xp: Any
    kernels: Callable[[int, int, bool], Kernels]
    to_host: Callable[[Any], NDArray]
    free_bytes: Callable[[], int]
    wait: Callable[[], None] = lambda: None
    pin: Callable[[NDArray], Pinned] = _in_place

    def put(self, array: NDArray, dtype: Any = None) -> Any:
        """Copy an array to the device, contiguous."""
        return self.xp.asarray(np.ascontiguousarray(array, dtype))


def cupy_device(number: int = 0) -> Device:
    """A GPU that CuPy sees.

    Raises:
        NoDevice: CuPy is not installed, or sees no such GPU.
    """
    try:
        import cupy
    except ImportError as error:
        raise NoDevice(f"CuPy cannot be imported ({error}): install the wheel for the CUDA of this machine") from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise NoDevice(f"CuPy sees no GPU ({error})") from error
    if number >= count:
        raise NoDevice(f"there is no GPU {number}: CuPy sees {count}")
    cupy.cuda.Device(number).use()
    properties = cupy.cuda.runtime.getDeviceProperties(number)

    def free() -> int:
        # What CuPy's pool holds without using it is free to us as well.
        pool = cupy.get_default_memory_pool()
        return int(cupy.cuda.runtime.memGetInfo()[0]) + int(pool.free_bytes())

    return Device(
        *(properties["name"].decode(), cupy, _compiled(cupy), cupy.asnumpy, free),
        wait=cupy.cuda.Device(number).synchronize,
        pin=_pinned,
    )


def _pinned(array: NDArray) -> Pinned:
    """Page-locked memory: where addresses are unified, as on every 64-bit Linux, a kernel reads it by its address."""
    import cupyx

    pinned = cupyx.empty_pinned(array.shape, np.float32)
    pinned[...] = array
    return Pinned(pinned)


def _compiled(cupy: Any) -> Callable[[int, int, bool], Kernels]:
    """Kernels for a shape of embeddings, compiled once a process."""

    @functools.cache
    def kernels(dim: int, chunk: int, is_half: bool) -> Kernels:
        module = cupy.RawModule(code=SOURCE.read_text(), options=options(dim, chunk, is_half))
        return CudaKernels(cupy, module.get_function)

    return kernels


def stand_in() -> Device:
    """NumPy in the place of a GPU."""
    return Device("NumPy in the place of a GPU", np, lambda *_: StandIn(), np.asarray, lambda: 1 << 34)
