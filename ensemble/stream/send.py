"""`cascade events send`: a file of events to a server, in order; stopped anywhere, the same command goes on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from cascade_client import CascadeClient, EventOutcome
from cascade_client.events import MOST_OF_ONE_USER
from ensemble.serving.client_errors import as_ours
from ensemble.stream.event_files import STDIN, Row, fingerprint, read_rows
from workflows.core import console
from workflows.core.disk import writing
from workflows.core.errors import CascadeError, DataError, ServingError

__all__ = ["send_events"]

TIMEOUT_S = 60.0
# Refused rows that are printed; the others are only counted.
MOST_SHOWN = 100


def send_events(path: Path, url: str, batch: int, key: str | None) -> int:
    """Send a file, and print what was refused on standard error.

    Args:
        path: NDJSON, CSV or Parquet; "-" is NDJSON from standard input.
        url: see CascadeClient.
        batch: events in one request.
        key: the server's CASCADE_EVENTS_KEY.

    Returns:
        The exit status: 0, or 1 when an event was refused.

    Raises:
        DataError: the file cannot be used, or has changed since a part of it was sent.
        ServingError, RequestError: the server cannot be reached, or refuses everything.
    """
    progress = _Progress(path)
    try:
        with as_ours(), CascadeClient(url, timeout_s=TIMEOUT_S) as client:
            inputs = client.event_inputs
            rows = read_rows(path, inputs, progress.rows)
            for part in _requests(rows, batch):
                progress.add(part, _send(client, part, progress, key))
    except CascadeError as error:
        if isinstance(error, ServingError) and progress.rows and path != STDIN:
            raise ServingError(f"{error}; {progress.rows} rows are sent, and the same command goes on there") from error
        raise
    progress.finish()
    return 1 if progress.counts["refused"] else 0


def _requests(rows: Iterator[Row], batch: int) -> Iterator[list[Row]]:
    """Rows of one request each: sent once more, all of them are known again."""
    part: list[Row] = []
    of_user: Counter[str] = Counter()
    for row in rows:
        user = str(row.event.get("user_id"))
        if len(part) == batch or of_user[user] == MOST_OF_ONE_USER:
            yield part
            part, of_user = [], Counter()
        of_user[user] += 1
        part.append(row)
    if part:
        yield part


def _send(client: CascadeClient, part: list[Row], progress: _Progress, key: str | None) -> Iterator[EventOutcome]:
    """What became of each row of a request."""
    good = [row for row in part if not row.problem]
    events = [progress.named(row) for row in good]
    sent = iter(client.send(events, key=key, batch=len(part)))
    for row in part:
        yield EventOutcome("refused", row.problem, -1, "") if row.problem else next(sent)


class _Progress:
    """How far a file is sent, kept beside it until all of it is.

    Args:
        path: of the file.

    Raises:
        DataError: the file is another one than that of which a part was sent.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._record = path, path.with_name(f"{path.name}.sent")
        self._fingerprint = "" if path == STDIN else fingerprint(path)
        self.rows, self.counts = 0, {"new": 0, "duplicate": 0, "refused": 0}
        if path != STDIN and self._record.exists():
            self._resume()

    def named(self, row: Row) -> dict[str, object]:
        """The event of a row under an id of its own, the same each time that the file is sent."""
        if row.event.get("event_id") is not None or not self._fingerprint:
            return row.event
        return {**row.event, "event_id": f"{self._fingerprint}-{row.line}"}

    def add(self, part: list[Row], outcomes: Iterator[EventOutcome]) -> None:
        """Count rows that are sent, and print those that were refused."""
        for row, outcome in zip(part, outcomes, strict=True):
            self.counts[outcome.status] += 1
            if outcome.status == "refused" and self.counts["refused"] <= MOST_SHOWN:
                console.say(f"events send: line {row.line} was refused: {outcome.reason}")
        self.rows += len(part)
        if self._path != STDIN:
            record = {"rows": self.rows, "fingerprint": self._fingerprint, **self.counts}
            fresh = self._record.with_name(f"{self._record.name}.new")
            with writing("events send", self._record.parent):
                fresh.write_text(json.dumps(record))
                fresh.replace(self._record)

    def finish(self) -> None:
        """Say what was sent, and forget how far."""
        new, known, refused = self.counts.values()
        console.say(f"events send: {self.rows} events: {new} new, {known} known already, {refused} refused")
        self._record.unlink(missing_ok=True)

    def _resume(self) -> None:
        try:
            record = json.loads(self._record.read_text())
            fingerprint_then, self.rows = str(record["fingerprint"]), int(record["rows"])
            self.counts = {status: int(record[status]) for status in self.counts}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self._record} cannot be read ({error}); remove it to send {self._path} from its beginning"
            ) from None
        if fingerprint_then != self._fingerprint:
            raise DataError(
                f"{self._path} has changed since its first {self.rows} rows were sent; remove {self._record} to send "
                "all of it, or bring the earlier file back to go on"
            )
        console.say(f"events send: going on behind row {self.rows}")
