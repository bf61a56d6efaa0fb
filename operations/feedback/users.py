"""Raw user ids of events as the keys that the request log has for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from operations.feedback.schema import DAY_NS
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
        used: id of a salt -> the first and the last day of requests that were logged with it.

    Raises:
        ArtefactError: the salt of a log is not there.
    """

    def __init__(self, folder: Path, window_ns: int, used: Mapping[str, Sequence[int]]) -> None:
        logs = [Path(log) for log in read_json(folder / STATUS, {"logs": []})["logs"]]
        try:
            self._current = [found[0] for found in map(salts, logs)]
            known = {salt.id: salt for log in logs for salt in salts(log)}
        except LogError as error:
            raise ArtefactError(f"{error}; without it the slates of a user cannot be found") from error
        self._window = window_ns
        self._used = [(known[name], first, last) for name, (first, last) in used.items() if name in known]

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
