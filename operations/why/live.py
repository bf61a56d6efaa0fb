"""What live events add to a question: asked once, so that every version of the question sees the same state."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import NDArray

from operations.why.question import removing
from runtime.request import Parsed
from runtime.steps.features import AsksLive
from runtime.stream.recent import LiveRecent

__all__ = ["AskedOnce", "Repeated"]


class AskedOnce:
    """Asks the live state at the first question and remembers the answer.

    Args:
        live: asks it.
    """

    def __init__(self, live: AsksLive) -> None:
        self._live = live
        self._found: LiveRecent | None = None

    def of(self, parsed: Parsed) -> LiveRecent:
        """See `AsksLive`; the request is the same one each time."""
        if self._found is None:
            self._found = self._live.of(parsed)
        return self._found


class Repeated:
    """The same answer for several versions of one request, some items removed.

    Args:
        found: for the request as it is, of one user.
        removed: item rows by version.
    """

    def __init__(self, found: LiveRecent, removed: Sequence[NDArray]) -> None:
        self._found, self._removed = found, removed

    def of(self, parsed: Parsed) -> LiveRecent:
        """See `AsksLive`."""
        found, count = self._found, len(self._removed)
        return LiveRecent(
            recent=removing(found.recent.repeat(count, axis=0), self._removed),
            seen=removing(found.seen.repeat(count, axis=0), self._removed),
            offset=found.offset.repeat(count, axis=0),
            age_ms=found.age_ms.repeat(count, axis=0),
            at=found.at.repeat(count, axis=0),
            columns={name: values.repeat(count, axis=0) for name, values in found.columns.items()},
        )
