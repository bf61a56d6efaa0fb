"""Times of calls, from the host's side: what waits for an answer sees them so."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from runtime.device.device import Device
from runtime.device.kernels import Kernels
from runtime.device.search import DeviceSearch

__all__ = ["kernel_times", "timed"]

SECONDS, LEAST, MOST = 1.5, 5, 300


def timed(device: Device, call: Callable[[], Any], users: int) -> dict[str, float]:
    """Call again and again for a second and a half, after two calls that are not counted; in a rehearsal once.

    Args:
        device: what `call` computes on.
        call: one batch.
        users: in it.

    Returns:
        p50_ms and p99_ms of a call, users_per_s at the median, and how many calls were timed.
    """
    is_rehearsal = device.xp is np
    for _ in range(0 if is_rehearsal else 2):
        call()
    device.wait()
    times: list[float] = []
    ends = time.perf_counter() + SECONDS
    while len(times) < (1 if is_rehearsal else LEAST) or (
        not is_rehearsal and time.perf_counter() < ends and len(times) < MOST
    ):
        started = time.perf_counter()
        call()
        device.wait()
        times.append(time.perf_counter() - started)
    p50, p99 = (float(np.percentile(times, share)) for share in (50, 99))
    return {"p50_ms": p50 * 1e3, "p99_ms": p99 * 1e3, "users_per_s": users / p50, "calls": len(times)}


def kernel_times(device: Device, search: DeviceSearch, call: Callable[[], Any]) -> dict[str, float]:
    """Milliseconds that each kernel of a call takes on the device, without what the host does between them.

    Args:
        device: what `search` computes on.
        search: whose kernels are timed.
        call: a search; called twice, so that nothing is compiled the second time.
    """
    kernels = search.kernels
    for _ in range(2):
        search.kernels = watched = Watched(device, kernels)
        call()
    search.kernels = kernels
    return watched.times()


class Watched:
    """Kernels whose launches are timed, by events where the device has them."""

    def __init__(self, device: Device, kernels: Kernels) -> None:
        self._device, self._kernels = device, kernels
        self._spans: list[tuple[str, Any, Any]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            started = self._now()
            result = getattr(self._kernels, name)(*args)
            self._spans.append((name, started, self._now()))
            return result

        return call

    def _now(self) -> Any:
        if self._device.xp is np:
            return time.perf_counter()
        event = self._device.xp.cuda.Event()
        event.record()
        return event

    def times(self) -> dict[str, float]:
        """By the name of the kernel."""
        self._device.wait()
        found: dict[str, float] = {}
        for name, started, ended in self._spans:
            if self._device.xp is np:
                took = (ended - started) * 1e3
            else:
                took = float(self._device.xp.cuda.get_elapsed_time(started, ended))
            found[name] = found.get(name, 0.0) + took
        return found
