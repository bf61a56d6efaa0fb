"""Times of calls, from the host's side: what waits for an answer sees them so."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from runtime.device.device import Device

__all__ = ["timed"]

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
