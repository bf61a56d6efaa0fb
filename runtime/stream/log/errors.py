"""What the log says when it cannot go on."""

from __future__ import annotations

__all__ = ["BusyError", "CompactedError", "LogError"]


class LogError(OSError):
    """The log cannot be opened, read or written; one sentence that names the file."""


class BusyError(LogError):
    """Another process does what only one can do at a time."""


class CompactedError(LogError):
    """The events are no longer in the log: they are in Parquet, and in the state."""
