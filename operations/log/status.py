"""status.json of MON: what was collected and what was not, for people and for metrics."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from operations.folder import STATUS, read_json
from operations.log.rows import Logged
from runtime.log.segments import Segment

__all__ = ["Status"]

# A writer that has said nothing for so long is gone: what it counted is in the totals.
WRITER_GONE_S = 86_400.0


class Status:
    """Totals since MON began.

    Attributes:
        counts: "requests", "sampled", "written", "dropped_queue", "dropped_disk", "without_id" and "failed" as the
            servers counted them; "rows" and "records" as collected; "half", "damaged", "torn" and "clock_jumps".
        logs: LOG folders that were collected.
        collected_at: seconds since 1970.
        lag_s: age of the oldest request of the last collection that had any.
    """

    def __init__(self, record: dict[str, Any]) -> None:
        self.counts = Counter[str](record.get("counts", {}))
        self.logs: list[str] = record.get("logs", [])
        self.collected_at: float = record.get("collected_at", 0.0)
        self.lag_s: float = record.get("lag_s", 0.0)
        self._writers: dict[str, dict[str, Any]] = record.get("writers", {})

    @classmethod
    def load(cls, folder: Path) -> Status:
        """The status of MON; one without totals where it is new."""
        return cls(read_json(folder / STATUS, {}))

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "counts": dict(self.counts),
            "logs": self.logs,
            "collected_at": self.collected_at,
            "lag_s": self.lag_s,
            "writers": self._writers,
        }

    def take(self, segment: Segment) -> None:
        """Count what a segment says of its writer, which counts from its own beginning."""
        writer = segment.path.name.rpartition("-")[0]
        before = self._writers.get(writer, {"counts": {}})["counts"]
        if segment.counts:
            for name, number in segment.counts.items():
                self.counts[name] += number - before.get(name, 0)
            self._writers[writer] = {"counts": segment.counts, "at": time.time()}
        self.counts["damaged"] += segment.num_damaged + (0 if segment.header else len(segment.records))
        self.counts["torn"] += segment.torn_bytes > 0

    def note_log(self, log: Path) -> None:
        """Remember a LOG folder, and that it was collected just now."""
        self.logs = sorted({*self.logs, str(log.absolute())})
        self.collected_at = time.time()

    def done(self, log: Path, logged: Sequence[Logged], num_rows: int) -> None:
        """Count what was collected."""
        self.note_log(log)
        self.counts["rows"] += num_rows
        self.counts["records"] += len(logged)
        self.counts["clock_jumps"] += len({id(each.header) for each in logged if each.is_corrected})
        if logged:
            self.lag_s = round(self.collected_at - min(each.at for each in logged) / 1e9, 3)
        gone = self.collected_at - WRITER_GONE_S
        self._writers = {name: writer for name, writer in self._writers.items() if writer["at"] > gone}
