"""How long to wait before something that keeps failing is tried again, and when to stop trying."""

from __future__ import annotations

__all__ = ["DELAYS_S", "STEADY_S", "Backoff"]

DELAYS_S = (0.0, 1.0, 2.0, 4.0, 8.0)
STEADY_S = 60.0


class Backoff:
    """The delay before each retry; after a long time without a failure the delays start anew.

    Args:
        delays_s: the waits before the first, second, ... try; after the last one there is no further try.
        steady_s: what has gone well for so long is trusted again.

    Example:
        >>> backoff = Backoff((0.0, 1.0))
        >>> [backoff.next_delay(now=10.0), backoff.next_delay(now=12.0), backoff.next_delay(now=14.0)]
        [0.0, 1.0, None]
    """

    def __init__(self, delays_s: tuple[float, ...] = DELAYS_S, steady_s: float = STEADY_S) -> None:
        self._delays_s, self._steady_s = delays_s, steady_s
        self._last_at: float | None = None
        self.failures = 0

    def next_delay(self, now: float) -> float | None:
        """Count a failure.

        Args:
            now: seconds of a monotonic clock.

        Returns:
            Seconds to wait before the next try; None when there shall be none.
        """
        if self._last_at is not None and now - self._last_at > self._steady_s:
            self.failures = 0
        self._last_at = now
        self.failures += 1
        return self._delays_s[self.failures - 1] if self.failures <= len(self._delays_s) else None

    def recovered(self, now: float) -> None:
        """Record a successful retry: the time without a failure starts now."""
        self._last_at = now
