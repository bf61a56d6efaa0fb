"""A published repository that a real server serves: guarded, with every request logged, and taking events."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.failures.load import Load, Question
from cascade_client import CascadeClient, CascadeClientError
from ensemble.config import Config
from ensemble.publish import publish
from ensemble.serving.backoff import Backoff
from ensemble.serving.guard import guard
from ensemble.serving.metrics import Counters
from ensemble.serving.reload import reload_model
from ensemble.serving.request_log import prepare_log
from ensemble.serving.triton import TritonServer
from runtime.log.folder import LogSettings
from workflows.core.errors import CascadeError
from workflows.core.run import Run

__all__ = ["Stage", "Theatre", "staged"]

READY_WITHIN_S, POLL_S = 120.0, 0.1
LAYOUT, LOG_SHARE = "fused", 1.0


@dataclass(frozen=True)
class Theatre:
    """What every stage is made of.

    Attributes:
        run: exported.
        config: of it.
        config_path: the file.
        questions: with their right slates.
        strangers: the same, of users whom the chain does not know.
        senders: users whose events are sent.
        items: of the catalogue.
    """

    run: Run
    config: Config
    config_path: Path
    questions: list[Question]
    strangers: list[Question]
    senders: list[int | str]
    items: list[int | str]


@dataclass
class Stage:
    """A server, and what may be done to it.

    Attributes:
        theatre: what it is made of.
        scratch: a folder for whatever is needed.
        server: the real one.
        counters: of what its guard had to do.
        disk: folder of the request log and of the events.
        killed_at: instants of the monotonic clock at which something was killed, or was seen to have ended.
        load: the clients; set once they ask.
    """

    theatre: Theatre
    scratch: Path
    server: TritonServer
    counters: Counters
    disk: Path
    killed_at: list[float] = field(default_factory=list)
    load: Load | None = None

    @property
    def repository(self) -> Path:
        """That is served."""
        return self.scratch / "published"

    def kill(self, *pids: int) -> None:
        """End processes without a warning."""
        self.killed_at.append(time.monotonic())
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def publish(self) -> Path:
        """The next version, of the same export; returns its folder."""
        version = publish(self.theatre.run, self.theatre.config, self.repository, LAYOUT)
        return self.repository / "cascade" / str(version)

    def reload(self) -> str:
        """Have the server take what is published; what `cascade reload` says."""
        try:
            version = reload_model(self.server.grpc_url, self.server.admin_key).version
        except CascadeError as error:
            return str(error)
        return f"version {version} is served"

    def is_well(self) -> bool:
        """Whether the server is ready and answers, once it had the time for it."""
        until, question = time.monotonic() + READY_WITHIN_S, self.theatre.questions[0]
        while time.monotonic() < until:
            if self.counters.ready and not self.server.ending():
                try:
                    with CascadeClient(self.server.grpc_url, retry=None) as client:
                        (slate,) = client.recommend([question.user], **question.named)
                    return question.is_answered_by(slate)
                except CascadeClientError:
                    pass
            time.sleep(POLL_S)
        return False


@contextmanager
def staged(theatre: Theatre, scratch: Path, disk: Path) -> Iterator[Stage]:
    """Publish, serve, guard.

    Args:
        theatre: what it is made of.
        scratch: an empty folder.
        disk: folder for the request log and the events.
    """
    publish(theatre.run, theatre.config, scratch / "published", LAYOUT)
    settings = LogSettings(disk / "LOG", LOG_SHARE)
    prepare_log(settings, scratch / "published")
    server = TritonServer(scratch / "published", request_log=settings, events=disk / "events")
    counters, stop, ended = Counters(), threading.Event(), list[CascadeError]()

    def watch() -> None:
        try:
            guard(server, counters, stop, Backoff())
        except CascadeError as error:
            ended.append(error)

    with server:
        counters.ready = True
        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield Stage(theatre, scratch, server, counters, disk)
        finally:
            stop.set()
            thread.join()
    if ended:
        raise ended[0]
