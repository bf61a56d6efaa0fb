"""Refused events, kept with their reasons: EVENTS/rejected.ndjson, and the same with .1 for those before."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.stream.folder import rejected_file

__all__ = ["MAX_BYTES", "Rejected", "plain_value", "rejected_files", "rejected_lines"]

# At which size a file becomes the one before: whoever sends nonsense does not fill the disk.
MAX_BYTES = 32 << 20
SHOWN = 500


class Rejected:
    """Where refused events go.

    Args:
        events: the EVENTS folder.
    """

    def __init__(self, events: Path) -> None:
        self._path = rejected_file(events)

    def write(self, lines: Iterable[str]) -> None:
        """Append lines.

        Raises:
            OSError: the file cannot be written.
        """
        if self._path.exists() and self._path.stat().st_size >= MAX_BYTES:
            self._path.replace(self._path.with_suffix(".1.ndjson"))
        with self._path.open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))


def rejected_lines(request: Mapping[str, NDArray], reasons: Mapping[int, str], received_at: int) -> list[str]:
    """One JSON object for each refused event of a request: when it arrived, why, and what it said."""
    seconds = datetime.fromtimestamp(received_at // 10**9, timezone.utc)
    arrived = seconds.isoformat().replace("+00:00", "Z")
    return [
        json.dumps({"received_at": arrived, "reason": reason, "event": _said(request, place)})
        for place, reason in sorted(reasons.items())
    ]


def rejected_files(events: Path) -> list[Path]:
    """The files of refused events that there are."""
    current = rejected_file(events)
    return [path for path in (current.with_suffix(".1.ndjson"), current) if path.is_file()]


def _said(request: Mapping[str, NDArray], place: int) -> dict[str, Any]:
    values = {name: np.ravel(column)[place] for name, column in request.items()}
    return {name: plain_value(value) for name, value in values.items()}


def plain_value(value: Any) -> Any:
    """A value as JSON has it; what is long is cut."""
    if isinstance(value, bytes):
        return value[:SHOWN].decode("utf-8", "backslashreplace")
    value = value.item() if isinstance(value, np.generic) else value
    return repr(value) if isinstance(value, float) and not np.isfinite(value) else value
