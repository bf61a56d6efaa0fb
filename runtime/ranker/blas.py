"""Matrix products on one thread, so that they give the same bits wherever they run. NumPy alone: the server runs this.

BLAS cuts a product into parts by the number of its threads, and a sum that is cut elsewhere is rounded elsewhere. A
server sets one thread by variables before NumPy is loaded; here it is set in a process that computes other things too.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["one_thread"]

# Names of the functions that get and set the number of threads: OpenBLAS as distributions and as NumPy's wheels build
# it, MKL and BLIS.
FUNCTIONS = (
    ("openblas_get_num_threads", "openblas_set_num_threads"),
    ("openblas_get_num_threads64_", "openblas_set_num_threads64_"),
    ("scipy_openblas_get_num_threads", "scipy_openblas_set_num_threads"),
    ("scipy_openblas_get_num_threads64_", "scipy_openblas_set_num_threads64_"),
    ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads"),
    ("bli_thread_get_num_threads", "bli_thread_set_num_threads"),
)
LIBRARIES = ("libblas", "libcblas", "libopenblas", "libscipy_openblas", "libmkl_rt", "libblis")
MAPS = Path("/proc/self/maps")


class _OneThread:
    """BLAS computes on one thread in the body; after the last of several bodies at once, on as many as before."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._changed: list[tuple[Callable[[int], Any], int]] = []

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._changed = [(change, count) for get, change in _controls() if (count := get()) != 1]
                for change, _ in self._changed:
                    change(1)
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                for change, count in self._changed:
                    change(count)


one_thread = _OneThread()


@functools.cache
def _controls() -> list[tuple[Callable[[], int], Callable[[int], Any]]]:
    """The functions of every BLAS that is loaded."""
    found = []
    for path in _loaded():
        try:
            library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD)
        except OSError:  # another file has taken its place since
            continue
        for names in FUNCTIONS:
            if all(hasattr(library, name) for name in names):
                get, change = (getattr(library, name) for name in names)
                get.restype, change.restype, change.argtypes = ctypes.c_int, None, [ctypes.c_int]
                found.append((get, change))
                break
    return found


def _loaded() -> list[str]:
    """Paths of the BLAS libraries that this process has loaded; other mapped files may be called anything."""
    lines = MAPS.read_bytes().split(b"\n")
    paths = {os.fsdecode(line.split(maxsplit=5)[5].strip()) for line in lines if line.count(b"/")}
    return sorted(path for path in paths if Path(path).name.startswith(LIBRARIES))
