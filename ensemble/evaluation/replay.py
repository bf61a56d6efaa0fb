"""The chain as it would have been served: the tables' events fed to the live state in their order, queries in between.

It is the code of the server: the fold writes the state, and the chain's steps read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ensemble.evaluation.chain_source import request_of
from ensemble.evaluation.queries import Queries
from ensemble.stream.fed import FedState, at_one_instant
from runtime.chain import Chain
from runtime.spec import ChainSpec
from runtime.stream.live import at_instant, events_in
from workflows.core.console import progress
from workflows.core.run import Run
from workflows.stream.backfill import TableEvents

__all__ = ["Replay", "replay_queries"]


class Replay:
    """A live state that knows what came before the test split, and then the test events as far as they are fed.

    Args:
        run: whose data stage has finished.
        chain: a compiled chain with a live state, of what was known before the test split.
        folder: of the live events; made.
    """

    def __init__(self, run: Run, chain: Path, folder: Path) -> None:
        live = ChainSpec.load(chain).live
        assert live is not None
        self._state = FedState(live.stream, folder)
        known = TableEvents(run, "before test")
        with progress("evaluate: feed the events before the test split", len(known), "events") as bar:
            self._state.feed(known, 0, len(known), lambda done: bar.advance(bar.task_ids[0], done))
        self._test, self._fed = TableEvents(run, "test"), 0

    def feed_until(self, instant: int) -> None:
        """Feed the test events before an instant, nanoseconds."""
        self._fed = self._state.feed_until(self._test, self._fed, instant)

    def close(self) -> None:
        """Give the state back."""
        self._state.close()


@contextmanager
def open_replay(run: Run, chain: Path, folder: Path) -> Iterator[tuple[Replay, Chain]]:
    """A replay, and the chain that reads its state."""
    replay = Replay(run, chain, folder)
    try:
        with events_in(folder):
            yield replay, Chain.load(chain)
    finally:
        replay.close()


def replay_queries(
    run: Run, chain: Path, folder: Path, queries: Queries, user_ids: NDArray, item_ids: NDArray, longest: int
) -> NDArray[np.int32]:
    """Slates of queries, each at its instant, with every event before it known.

    Args:
        run: whose data stage has finished.
        chain: a compiled chain with a live state, of what was known before the test split.
        folder: for the live state; empty or absent.
        queries: Q queries; the context of the chain's request is taken from them.
        user_ids: raw ids by user_row.
        item_ids: raw ids by item_row, ascending.
        longest: K.

    Returns:
        Item rows [Q, K], padded with -1.
    """
    slates = np.full((len(queries), longest), -1, np.int32)
    with (
        open_replay(run, chain, folder) as (replay, opened),
        progress("evaluate: replay", len(queries), "users") as bar,
    ):
        for part in at_one_instant(queries.at, opened.spec.max_batch_size):
            instant = int(queries.at[part[0]])
            replay.feed_until(instant)
            with at_instant(instant):
                answer = opened.recommend(request_of(queries, part, opened.spec, user_ids, longest))
            shown = np.arange(answer["item_id"].shape[1]) < answer["num_items"]
            rows = np.searchsorted(item_ids, answer["item_id"].astype(item_ids.dtype))
            slates[part, : rows.shape[1]] = np.where(shown, rows, -1)
            bar.advance(bar.task_ids[0], len(part))
    return slates
