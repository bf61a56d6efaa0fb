"""When a call is tried again, and how long it may take in all."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cascade_client.errors import BadSetting

__all__ = ["DEFAULT_RETRY", "Deadline", "Retry", "seconds"]


@dataclass(frozen=True)
class Retry:
    """Ask again after a failed connection and when the server cannot answer now, until the call's time is up.

    Asking for slates changes nothing on the server, so the same request may be sent twice. What the server refused is
    never sent again.

    Attributes:
        first_wait_s: the longest wait before the second try; it doubles from try to try.
        longest_wait_s: where the doubling ends. Each wait is drawn from its second half, so that many clients of a
            server that restarts do not come back at once.
        attempt_timeout_s: how long one try may take before another is sent; without it, a try may take all of the
            call's time, and no answer in time is never followed by another try.
    """

    first_wait_s: float = 0.1
    longest_wait_s: float = 2.0
    attempt_timeout_s: float | None = None

    def __post_init__(self) -> None:
        seconds("first_wait_s", self.first_wait_s)
        seconds("longest_wait_s", self.longest_wait_s)
        if self.attempt_timeout_s is not None:
            seconds("attempt_timeout_s", self.attempt_timeout_s)

    def waits(self) -> Iterator[float]:
        """Seconds before the second, third, ... try."""
        longest = self.first_wait_s
        while True:
            longest = min(longest, self.longest_wait_s)
            yield longest * random.uniform(0.5, 1.0)
            longest *= 2


class Deadline:
    """A point in time.

    Args:
        timeout_s: how far away it is.
    """

    def __init__(self, timeout_s: float) -> None:
        self._at = time.monotonic() + timeout_s

    def left(self) -> float:
        """Seconds until it; 0 behind it."""
        return max(0.0, self._at - time.monotonic())


def seconds(name: str, value: Any) -> float:
    """A setting that is a time.

    Raises:
        BadSetting: it is no finite number above 0.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (math.isfinite(value) and value > 0):
        raise BadSetting(f"{name} must be a number of seconds above 0, got {value!r}")
    return float(value)


DEFAULT_RETRY = Retry()
