"""How long to wait before something that keeps failing is tried again, and when to stop trying."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["DELAYS_S", "STEADY_S", "Backoff", "Backoffs"]

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

    def fresh(self) -> Backoff:
        """Another one with the same delays, before any failure."""
        return Backoff(self._delays_s, self._steady_s)

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


class Backoffs:
    """One backoff for each thing that can fail: what happens to one does not count for another.

    Args:
        like: whose delays they have.

    Example:
        >>> backoffs = Backoffs(Backoff((0.0, 1.0)))
        >>> [backoffs.next_delay(["a"], 1.0), backoffs.next_delay(["b"], 2.0), backoffs.next_delay(["a", "c"], 3.0)]
        [0.0, 0.0, 1.0]
    """

    def __init__(self, like: Backoff) -> None:
        self._like = like
        self._of: dict[str, Backoff] = {}

    def next_delay(self, names: Iterable[str], now: float) -> float | None:
        """Count a failure of each; seconds to wait before the next try, None when there shall be none."""
        delays = [self._backoff(name).next_delay(now) for name in names]
        known = [delay for delay in delays if delay is not None]
        return max(known) if len(known) == len(delays) else None

    def recovered(self, names: Iterable[str], now: float) -> None:
        """Record a successful retry of each."""
        for name in names:
            self._backoff(name).recovered(now)

    def failures(self, names: Iterable[str]) -> int:
        """The most failures in a row that one of them had."""
        return max(self._backoff(name).failures for name in names)

    def _backoff(self, name: str) -> Backoff:
        if name not in self._of:
            self._of[name] = self._like.fresh()
        return self._of[name]
