"""What the pages read: the served chain, opened anew when another version is served, and the folder of a collector."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from console.catalogue import Catalogue, text
from console.inputs import ContextInput, context_inputs
from ensemble.serving.repository import any_repository, events_folder
from operations.why.explain import Explainer
from runtime.step import load_array
from workflows.core.artefacts import MANIFEST_NAME
from workflows.core.errors import ArtefactError

__all__ = ["Open", "Site"]

# Of the users with the most, and the fewest, seen items: which shares of them the first page offers.
OFFERED = (1.0, 0.95, 0.75, 0.5, 0.25, 0.0)


@dataclass(frozen=True)
class Open:
    """A chain that is open.

    Attributes:
        explainer: that asks it.
        stamp: of the files that it was opened from.
    """

    explainer: Explainer
    stamp: tuple[int, ...]

    @cached_property
    def catalogue(self) -> Catalogue:
        """Its items."""
        return Catalogue(self.explainer.served, self.explainer.nodes.spec, self.explainer.ids)

    @cached_property
    def context(self) -> Sequence[ContextInput]:
        """The context that a request may carry."""
        return context_inputs(self.explainer.served.folder, self.explainer.nodes.spec)

    @cached_property
    def users(self) -> list[tuple[str, int]]:
        """Users to begin with, and how many items each has seen."""
        folder = self.explainer.served.folder
        ids, seen = load_array(folder / "ids/users.npy"), folder / "state/seen_indptr.npy"
        counts = np.diff(load_array(seen)) if seen.is_file() else np.zeros(len(ids), np.int64)
        order = np.argsort(counts, kind="stable")
        rows = dict.fromkeys(int(order[round(share * (len(order) - 1))]) for share in OFFERED if len(order))
        return [(text(ids[row].item()), int(counts[row])) for row in rows]


class Site:
    """The chain and the folder that the pages are of. Threads may share one: they use the chain one after the other.

    Args:
        target: a run directory or a published repository.
        run: that a published repository's version was exported from.
        events: folder of live events; None: where `cascade why` finds it.
        monitor: MON; None: none.
        beside: what it is compared with; None: nothing.

    Raises:
        ArtefactError: there is no such chain or folder, or it cannot be opened.
    """

    def __init__(
        self,
        target: Path,
        *,
        run: Path | None = None,
        events: Path | None = None,
        monitor: Path | None = None,
        beside: Path | None = None,
    ) -> None:
        if monitor is not None and not monitor.is_dir():
            raise ArtefactError(
                f"--monitor {monitor} is no folder; give the one that `cascade log collect LOG --out {monitor}` makes"
            )
        self.target, self.monitor = target, monitor
        self.beside = None if beside is None else Site(beside)
        self._run, self._events = run, events
        self._lock = threading.Lock()
        self._open = self._opened()

    @contextmanager
    def chain(self) -> Iterator[Open]:
        """The chain that is served now, nobody else's for the time of the block.

        Raises:
            ArtefactError: what is served cannot be opened.
        """
        with self._lock:
            if self._stamp() != self._open.stamp:
                self._open = self._opened()
            yield self._open

    def _opened(self) -> Open:
        stamp = self._stamp()
        return Open(Explainer(self.target, self._run, self._events), stamp)

    def _stamp(self) -> tuple[int, ...]:
        """What changes when another version is served, or when the first event comes."""
        repository = any_repository(self.target)
        events = self._events or events_folder(self.target, repository)
        files = (repository.parent / MANIFEST_NAME, repository / "cascade" / "config.pbtxt")
        found = [path.stat() for path in files if path.is_file()]
        return (events.is_dir(), *(value for each in found for value in (each.st_ino, each.st_mtime_ns)))
