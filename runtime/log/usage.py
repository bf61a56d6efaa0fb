"""What one process counts of all its requests, logged or not: by consumer, outcome, path and time taken.

The counts go to a small file in LOG/usage each second, whole or not at all; a reader adds up those of all processes.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = [
    "BOUNDS_S",
    "FAILED",
    "FOLDER",
    "FULLNESSES",
    "MOST_CONSUMERS",
    "OK",
    "OTHER",
    "OUTCOMES",
    "REFUSED",
    "SUFFIX",
    "UNNAMED",
    "Usage",
]

FOLDER, SUFFIX = "usage", ".json"
# Outcomes of a request: answered; the sender's fault; the server's fault.
OK, REFUSED, FAILED = "ok", "refused", "failed"
# How many items a slate has of those that were wanted.
FULL, SHORT, EMPTY = "full", "short", "empty"
OUTCOMES, FULLNESSES = (OK, REFUSED, FAILED), (FULL, SHORT, EMPTY)
# Upper ends of the histogram of seconds; one more bucket takes what is longer.
BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
BOUNDS_US = tuple(int(bound * 1e6) for bound in BOUNDS_S)
# Names beside which there are only these two: who says none, and all the others.
MOST_CONSUMERS, UNNAMED, OTHER = 50, "unnamed", "other"
EACH_S = 1.0


class Usage:
    """The counts of a process since it began.

    Args:
        log: the LOG folder.
        labels: of the process: version, layout and step.
        consumers: names that are told apart; empty: the first MOST_CONSUMERS that come.
        say: takes a sentence when the file cannot be written.
        each_s: seconds between two writes.
    """

    def __init__(
        self,
        log: Path,
        labels: Mapping[str, str],
        consumers: Sequence[str],
        say: Callable[[str], None],
        *,
        each_s: float = EACH_S,
    ) -> None:
        self._labels, self._say, self._each_s = dict(labels), say, each_s
        self._names, self._is_closed_list = dict.fromkeys(consumers), bool(consumers)
        self._requests: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._slates: defaultdict[tuple[str, bytes, str], int] = defaultdict(int)
        # Slates that knew the state of live events, and those that were made without.
        self._live = {True: 0, False: 0}
        # By consumer: a count a bucket, then the sum in microseconds.
        self._times: dict[str, list[int]] = {}
        host = "".join(letter if letter.isalnum() else "-" for letter in socket.gethostname())
        self._started_ns = time.time_ns()
        self._path = log / FOLDER / f"{host}-{os.getpid()}-{self._started_ns}{SUFFIX}"
        self._written, self._problem = "", ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)
        self._thread.start()

    def consumer(self, name: str) -> str:
        """The name under which a consumer is counted."""
        if not name:
            return UNNAMED
        if name in self._names:
            return name
        if self._is_closed_list or len(self._names) >= MOST_CONSUMERS:
            return OTHER
        self._names[name] = None
        return name

    def request(self, consumer: str, outcome: str, service_us: int | None) -> None:
        """Count a request.

        Args:
            consumer: as `consumer` gives it.
            outcome: OK, REFUSED or FAILED.
            service_us: how long its batch took here; None where this process does not do all of it.
        """
        self._requests[consumer, outcome] += 1
        if service_us is not None:
            times = self._times.get(consumer)
            if times is None:
                times = self._times[consumer] = [0] * (len(BOUNDS_US) + 2)
            times[bisect_left(BOUNDS_US, service_us)] += 1
            times[-1] += service_us

    def slate(self, consumer: str, path: bytes, number: int, wanted: int) -> None:
        """Count a slate.

        Args:
            consumer: as `consumer` gives it.
            path: what it was made from.
            number: of its items.
            wanted: how many it was to have.
        """
        self._slates[consumer, path, FULL if number >= wanted else SHORT if number else EMPTY] += 1

    def live(self, offsets: Iterable[int]) -> None:
        """Count slates by whether the state of live events was there.

        Args:
            offsets: `stream_offset` of each; negative where it was away.
        """
        for offset in offsets:
            self._live[offset >= 0] += 1

    def close(self) -> None:
        """Write the last counts, and that no more will come."""
        self._ended.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        while not self._ended.wait(self._each_s):
            self._write(is_last=False)
        self._write(is_last=True)

    def _write(self, *, is_last: bool) -> None:
        text = json.dumps(self._counts() | {"ended": is_last})
        try:
            if text == self._written:
                # A reader tells by its time that the process lives.
                os.utime(self._path)
                return
            self._path.parent.mkdir(exist_ok=True)
            fresh = self._path.with_suffix(".new")
            fresh.write_text(text)
            fresh.replace(self._path)
            self._written, self._problem = text, ""
        except OSError as error:
            self._written = ""
            with suppress(OSError):
                self._path.with_suffix(".new").unlink()
            # Which of its files it is does not matter.
            problem = error.strerror or str(error)
            if problem != self._problem:
                self._say(f"what is used cannot be written to {self._path.parent} ({problem})")
            self._problem = problem

    def _counts(self) -> dict[str, Any]:
        """Copies: requests go on meanwhile."""
        return {
            "labels": self._labels,
            "started_ns": self._started_ns,
            "requests": [[*key, count] for key, count in list(self._requests.items())],
            "slates": [
                [consumer, path.decode(), fullness, count]
                for (consumer, path, fullness), count in list(self._slates.items())
            ],
            "live": [[is_live, count] for is_live, count in self._live.items() if count],
            "times": [[name, list(times)] for name, times in list(self._times.items())],
        }
