"""The part of `cascade stream audit` that looks at served requests: what they were given, counted from the log."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from runtime.stream.features import RATE, SINCE, LiveFeature, pair_value, rate, since, unless_expired
from runtime.stream.keys import user_keys
from runtime.stream.log.reader import Batch, log_id
from runtime.stream.served import features_file, plain, sample_files
from runtime.stream.spec import StreamSpec
from runtime.stream.store import Reading
from workflows.core.errors import ArtefactError
from workflows.stream.oracle import Expected

__all__ = ["ServedRequests"]


class ServedRequests:
    """The lines of EVENTS/served that belong to a log and a state, to be checked in the order of their offsets.

    Args:
        events: the EVENTS folder.
        spec: of its stream.
        reading: of its state, whose position is the largest offset that can be checked.
        is_counted: whether windows of items can be counted.

    Raises:
        ArtefactError: a file cannot be read.

    Attributes:
        num_left_out: lines of another log or state, and those that cannot be counted or read.
        num_values: that were checked.
        num_requests: lines that were checked.
    """

    def __init__(self, events: Path, spec: StreamSpec, reading: Reading, *, is_counted: bool) -> None:
        self._events, self._expired_at = events, reading.expired_at
        self._features: dict[str, list[LiveFeature]] = {}
        self._lines: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self.num_left_out = self.num_values = self.num_requests = 0
        log = log_id(events)
        for line in self._read():
            mine = (line["log"], line["state"]) == (log, spec.state_version) and line["offset"] <= reading.position
            if mine and (is_counted or "user" in line):
                self._lines[line["offset"]].append(line)
            else:
                self.num_left_out += 1
        self._offsets = sorted(self._lines, reverse=True)

    def tell(self, expected: Expected, batch: Batch) -> None:
        """Tell the events of a batch, and check the requests in between.

        Raises:
            ArtefactError: a request was given something else than the log says; names the first.
        """
        start = 0
        while self._offsets and self._offsets[-1] <= batch.next_offset:
            offset = self._offsets.pop()
            place = int(np.searchsorted(batch.offsets, offset))
            expected.tell(_part(batch, start, place))
            start = place
            self._check(expected, offset)
        expected.tell(_part(batch, start, len(batch.offsets)))

    def rest(self, expected: Expected) -> None:
        """Check those that were served before the first event.

        Raises:
            ArtefactError: see `tell`.
        """
        while self._offsets:
            self._check(expected, self._offsets.pop())

    def _read(self) -> Iterator[dict[str, Any]]:
        for path in sample_files(self._events):
            try:
                texts = path.read_text(errors="replace").splitlines() if path.exists() else []
            except OSError as error:
                raise ArtefactError(f"{path} cannot be read ({error.strerror})") from error
            for text in texts:
                try:
                    line = json.loads(text)
                    if not isinstance(line["offset"], int) or not ("user" in line or "items" in line):
                        raise ValueError
                except (ValueError, KeyError, TypeError):
                    self.num_left_out += 1  # half a line, of a disk that was full or a machine that crashed
                else:
                    yield line

    def _check(self, expected: Expected, offset: int) -> None:
        for line in self._lines.pop(offset):
            right = _of_user if "user" in line else _of_items
            values = list(right(expected, line, self._of(line["features"])))
            differ = [value for value in values if value[1] != value[2]]
            if differ and self._may_have_been_removed(expected, line):
                self.num_left_out += 1
                continue
            for what, found, wanted in differ:
                raise ArtefactError(
                    f"stream audit: a request at offset {offset} was given {found} for {what}, and by the log it "
                    f"is {wanted}; the state was another than the log's then: `cascade stream replay --check` "
                    "says whether it still is"
                )
            self.num_values += sum(len(wanted) if isinstance(wanted, list) else 1 for _, _, wanted in values)
            self.num_requests += 1

    def _may_have_been_removed(self, expected: Expected, line: dict[str, Any]) -> bool:
        """Whether it is of a user who may have been removed once for having done nothing."""
        told = expected.users.get(_key(line["user"])) if "user" in line else None
        return told is not None and told.first_at < self._expired_at

    def _of(self, name: str) -> list[LiveFeature]:
        if name not in self._features:
            path = features_file(self._events, name)
            try:
                self._features[name] = msgspec.json.decode(path.read_bytes(), type=list[LiveFeature])
            except (OSError, msgspec.MsgspecError) as error:
                raise ArtefactError(f"{path} cannot be read ({error}); remove {path.parent}") from None
        return self._features[name]


Values = Iterator[tuple[str, Any, Any]]


def _of_user(expected: Expected, line: dict[str, Any], features: Sequence[LiveFeature]) -> Values:
    """(what, given, right) of a user."""
    user, t = line["user"], int(line["t"])
    key = _key(user)
    yield f"the history of user {user!r}", line["history"], [item for _, _, item in expected.history(key)]
    for feature in features:
        counts = expected.of_user(key, t, feature.windows)
        latest = expected.since(key, feature.label) if feature.kind == SINCE else 0
        value = _value(feature, counts, latest, t)
        if feature.ttl_s:
            value = unless_expired(value, feature, np.array([expected.latest(key)]), np.array([t]))
        yield f"{feature.name} of user {user!r}", line["values"].get(feature.name), plain(value)[0]


def _key(user: str | int) -> bytes:
    raw = np.array([user.encode("utf-8", "surrogateescape")], object) if isinstance(user, str) else np.array([user])
    (key,) = user_keys(raw)
    return key


def _of_items(expected: Expected, line: dict[str, Any], features: Sequence[LiveFeature]) -> Values:
    """The same of candidates."""
    t = int(line["t"])
    for feature in features:
        found = [_value(feature, expected.of_item(item, t, feature.windows), 0, t) for item in line["items"]]
        right = [plain(pair_value(feature, value))[0] for value in found]
        yield f"{feature.name} of the items {line['items']}", line["values"].get(feature.name), right


def _value(feature: LiveFeature, counts: list[int], latest: int, t: int) -> NDArray[np.float64]:
    """A feature of counts, [1]."""
    if feature.kind == SINCE:
        return since(np.array([latest]), np.array([t]))
    if feature.kind == RATE:
        return rate(np.array([counts[0]]), np.array([counts[1]]), feature.prior, feature.base)
    return np.array([float(counts[0])])


def _part(batch: Batch, start: int, stop: int) -> Batch:
    rows = slice(start, stop)
    return Batch(batch.events.take(rows), batch.offsets[rows], batch.received_at[rows], batch.next_offset)
