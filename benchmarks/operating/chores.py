"""What people and their cron jobs do beside a server, each in its turn for as long as it goes on."""

from __future__ import annotations

import itertools
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.failures.stage import LAYOUT
from benchmarks.operating.clients import Clients
from benchmarks.operating.programs import Ended, run_command
from ensemble.config import Config
from ensemble.publish import publish
from ensemble.serving.triton import ADMIN_KEY_VARIABLE
from workflows.core.run import Run

__all__ = ["CLICKED_SHARE", "Chores", "Places"]

# Of the slates since the last time, one in so many is clicked on.
CLICKED_SHARE = 10
BLOCKED_S = 5.0
# Every so many seconds of an hour; shorter ones are so much busier.
HOUR_S = 3600.0
EACH_S = {"block": 120, "feedback": 300, "prune": 600, "verify": 600, "reload": 300, "publish": 900}
# Reloads end here, so that the processes of the second half grow old.
RELOADED_UNTIL = 0.5


@dataclass(frozen=True)
class Places:
    """Where everything is.

    Attributes:
        run: exported.
        config: of it.
        repository: published and served.
        log: LOG.
        mon: MON.
        scratch: for files of events.
        grpc_url: of the server.
        admin_key: of it.
        item: raw id of the one that is blocked and not.
        num_days: that MON had before the load began, one a day.
    """

    run: Run
    config: Config
    repository: Path
    log: Path
    mon: Path
    scratch: Path
    grpc_url: str
    admin_key: str
    item: str
    num_days: int


@dataclass
class Chores:
    """Do all of them, on a thread, until the end of the context; then those whose turn has come are let be.

    Attributes:
        places: where everything is.
        clients: whose slates are clicked on, and who know when the item is blocked.
        total_s: for which it goes on.
        took_s: of each time, by name.
        failed: sentences of those that did not end well.
        num_clicks: that were given to `cascade feedback`.
    """

    places: Places
    clients: Clients
    total_s: float
    took_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failed: list[str] = field(default_factory=list)
    num_clicks: int = 0

    def __enter__(self) -> Chores:
        self._stop, self._thread = threading.Event(), threading.Thread(target=self._work)
        self._days = iter(range(self.places.num_days, 0, -1))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def feedback(self) -> None:
        """Click on some slates and join the clicks."""
        clicked = self.clients.take_shown()[::CLICKED_SHARE]
        path = self.places.scratch / f"clicks-{self.num_clicks}.parquet"
        pq.write_table(
            pa.table(
                {
                    "request_id": [shown.request_id for shown in clicked],
                    "user_id": [shown.user for shown in clicked],
                    "item_id": [shown.item for shown in clicked],
                    "timestamp": pa.array([int(1e6 * shown.at) + 1 for shown in clicked], pa.timestamp("us", "UTC")),
                    "event_id": [f"click-{self.num_clicks + place}" for place in range(len(clicked))],
                }
            ),
            path,
        )
        self.num_clicks += len(clicked)
        self._run("feedback", str(self.places.mon), "--events", str(path))
        path.unlink()

    def _work(self) -> None:
        chores: dict[str, Callable[[], None]] = {
            "block": self._block,
            "feedback": self.feedback,
            "prune": self._prune,
            "verify": self._verify,
            "reload": self._reload,
            "publish": self._publish,
        }
        began_at = time.monotonic()
        for due_s, name in _turns(self.total_s):
            if self._stop.wait(max(began_at + due_s - time.monotonic(), 0.0)):
                return
            chores[name]()

    def _block(self) -> None:
        """An item is blocked, and after a while it is not any more."""
        p, clients = self.places, self.clients
        clients.change(lambda: self._run("block", p.item, "--repo", str(p.repository)), is_blocked=True)
        self._stop.wait(BLOCKED_S)
        clients.change(lambda: self._run("unblock", p.item, "--repo", str(p.repository)), is_blocked=False)

    def _prune(self) -> None:
        """One day fewer each time, of those that were there before."""
        self._run("log", "prune", str(self.places.mon), "--days", str(next(self._days, 1)))

    def _verify(self) -> None:
        self._run("log", "verify", str(self.places.mon))

    def _reload(self) -> None:
        self._run("reload", "--url", self.places.grpc_url.removeprefix("grpc://"))

    def _publish(self) -> None:
        began_at = time.monotonic()
        publish(self.places.run, self.places.config, self.places.repository, LAYOUT)
        self.took_s["publish"].append(time.monotonic() - began_at)
        self._reload()

    def _run(self, *words: str) -> Ended:
        ended = run_command(*words, environment={ADMIN_KEY_VARIABLE: self.places.admin_key})
        name = " ".join(words[:2]) if words[0] == "log" else words[0]
        self.took_s[name].append(ended.took_s)
        if ended.status:
            self.failed.append(f"cascade {name}: {ended.said.strip().splitlines()[-1] if ended.said else ended.status}")
        return ended


def _turns(total_s: float) -> Iterator[tuple[float, str]]:
    """Seconds from the beginning and the name of each chore, in order."""
    scale = min(total_s / HOUR_S, 1.0)
    turns = []
    for name, each_s in EACH_S.items():
        until_s = total_s * (RELOADED_UNTIL if name in ("reload", "publish") else 1.0)
        due = itertools.takewhile(lambda at, end=until_s: at < end, (scale * each_s * n for n in itertools.count(1)))  # type: ignore[misc]
        turns += [(at, name) for at in due]
    return iter(sorted(turns))
