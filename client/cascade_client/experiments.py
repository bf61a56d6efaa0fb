"""The experiments that run now: read from a file or a URL, looked at again every few seconds, or given once."""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Union

from cascade_client.assignment import Experiments, read_experiments
from cascade_client.errors import BadSetting

__all__ = ["LOOK_EACH_S", "ExperimentsSource", "Where"]

# How soon a client knows that a variant is taken away.
LOOK_EACH_S = 2.0
URL_TIMEOUT_S = 5.0
LOGGER = logging.getLogger("cascade_client")
Where = Union[str, Path, Mapping[str, Any]]


class ExperimentsSource:
    """What `experiments.json` says, as of a few seconds ago.

    Where there is no such file, no experiment runs. While it cannot be read, what it said last holds: a file server
    that is away moves no user. A URL is asked beside the requests, so that none waits for it.

    Args:
        where: the path of `experiments.json`, its http:// or https:// URL, or its content as a mapping.

    Raises:
        BadSetting: what is there is no such file; a URL that does not answer is no error.
    """

    def __init__(self, where: Where) -> None:
        self._lock, self._said = threading.Lock(), ""
        self._url = where if isinstance(where, str) and where.startswith(("http://", "https://")) else ""
        self._path = None if self._url or isinstance(where, Mapping) else Path(where)
        self._state: tuple[int, ...] = ()
        self._known = read_experiments(where) if isinstance(where, Mapping) else Experiments()
        self._next_at = time.monotonic() + LOOK_EACH_S if self._path or self._url else float("inf")
        try:
            self._look()
        except OSError as error:
            self._say(error)

    def current(self) -> Experiments:
        """The experiments that run now."""
        if time.monotonic() >= self._next_at:
            with self._lock:
                is_due = time.monotonic() >= self._next_at
                self._next_at = time.monotonic() + LOOK_EACH_S if is_due else self._next_at
            if is_due and self._url:
                threading.Thread(target=self._look_again, name="cascade-experiments", daemon=True).start()
            elif is_due:
                self._look_again()
        return self._known

    def _look_again(self) -> None:
        try:
            self._look()
            self._said = ""
        except (OSError, BadSetting) as error:
            self._say(error)

    def _look(self) -> None:
        if self._url:
            self._known = _read(_fetch(self._url))
        elif self._path is not None:
            try:
                found = self._path.stat()
            except FileNotFoundError:
                self._state, self._known = (), Experiments()
                return
            state = (found.st_mtime_ns, found.st_size, found.st_ino)
            if state != self._state:
                self._known = _read(self._path.read_bytes())
                self._state = state

    def _say(self, error: Exception) -> None:
        """Log a problem once, as long as it lasts."""
        if str(error) != self._said:
            LOGGER.warning("experiments are as they were: %s", error)
        self._said = str(error)


def _fetch(url: str) -> bytes | None:
    """The content of a URL; None where it says that there is none."""
    try:
        with urllib.request.urlopen(url, timeout=URL_TIMEOUT_S) as answer:
            content: bytes = answer.read()
            return content
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            return None
        raise


def _read(content: bytes | None) -> Experiments:
    if content is None:
        return Experiments()
    try:
        record = json.loads(content)
    except ValueError as error:
        raise BadSetting(f"the experiments cannot be read: they are no JSON ({error})") from error
    return read_experiments(record)
