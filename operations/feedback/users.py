"""Raw user ids of events as the keys that the request log has for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from operations.feedback.schema import DAY_NS, date_of, request_days
from operations.folder import STATUS, read_json
from operations.log.forget import names_of
from runtime.log.folder import salts
from runtime.stream.log.errors import LogError
from workflows.core.errors import ArtefactError

__all__ = ["UserKeys"]


class UserKeys:
    """Makes keys with the salts that requests of that time were logged with, and with no other.

    A key made with an earlier or a later salt beside them would join what a new salt has set apart.

    Args:
        folder: MON.
        window_ns: how far from an event its slate may be.

    Raises:
        ArtefactError: the salt of a log is not there.
    """

    def __init__(self, folder: Path, window_ns: int) -> None:
        logs = [Path(log) for log in read_json(folder / STATUS, {"logs": []})["logs"]]
        try:
            self._current = [found[0] for found in map(salts, logs)]
            known = {salt.id: salt for log in logs for salt in salts(log)}
        except LogError as error:
            raise ArtefactError(f"{error}; without it the slates of a user cannot be found") from error
        self._window = window_ns
        self._used = [(salt, *days) for name, days in _used(folder).items() if (salt := known.get(name))]

    def of(self, user: str, at: int) -> list[bytes]:
        """The keys of a user at an instant, nanoseconds since 1970; none where no user is named."""
        if not user:
            return []
        used = [
            salt
            for salt, first, last in self._used
            if first * DAY_NS - self._window <= at < (last + 1) * DAY_NS + self._window
        ]
        return sorted({salt.user_key(name) for salt in used or self._current for name in names_of(user)})


def _used(folder: Path) -> dict[str, tuple[int, int]]:
    """Salt ids -> the first and the last day of requests that were logged with them."""
    used: dict[str, tuple[int, int]] = {}
    for place in request_days(folder):
        day = date_of(place)
        for name in _salt_ids(sorted(place.glob("[!.]*.parquet"))):
            first, last = used.get(name, (day, day))
            used[name] = min(first, day), max(last, day)
    return used


def _salt_ids(paths: Sequence[Path]) -> set[str]:
    found: set[str] = set()
    for path in paths:
        found |= set(pc.unique(pq.ParquetFile(path).read(["salt_id"])["salt_id"]).to_pylist())
    return found
