"""From a question to its answer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from ensemble.serving.repository import blocked_file, events_folder
from operations.replay.versions import Version
from operations.why.answer import Answer
from operations.why.asking import NOTHING, Asking, Outcome
from operations.why.changes import changes_of
from operations.why.deep import deep_ranks
from operations.why.funnel import Funnel, funnel_of
from operations.why.history import MOST_LEFT_OUT, history_of, left_out
from operations.why.nodes import Nodes, live_as_before, nodes_of
from operations.why.question import Question, RawQuestion, row_of
from operations.why.ran import ran, shortened
from operations.why.request import OPTIONS, Names, RawRequest
from operations.why.rules import Rules, rules_of
from operations.why.served import Served, find_served, served_by
from operations.why.trace import lost_at, steps_of, summary_of
from runtime.blocked import BLOCKED_VARIABLE, BlockedItems
from runtime.chain import Chain
from runtime.errors import PlanError
from runtime.request import Parsed
from runtime.spec import LIVE_OFFSET, PATHS
from runtime.step import Arrays, load_array
from runtime.stream.live import AWAY, events_in, without_live_state
from runtime.stream.redis_url import STORE_VARIABLE
from workflows.core import console
from workflows.core.errors import ArtefactError

__all__ = ["Explainer"]

MOST_SHOWN = 5


class Explainer:
    """Says why an item is in a slate of what a run or a repository serves, or why not.

    Args:
        path: a run directory or a published repository.
        run: the run that a published repository's version was exported from; names the rules.
        events: folder of live events; by default that of the run or beside the repository, where it is there.
        version: asked in the place of what the path serves, and without live events; None: what it serves.

    Raises:
        ArtefactError: there is no such chain, or it cannot be opened.
    """

    def __init__(
        self, path: Path, run: Path | None = None, events: Path | None = None, version: Version | None = None
    ) -> None:
        self.served: Served = find_served(path, run) if version is None else served_by(version, run)
        self._reads_events = version is None
        self._state = _state_of(path, self.served, events) if self._reads_events else None
        try:
            with self._state_known():
                self._chain = Chain.load(self.served.folder)
        except (OSError, ValueError, PlanError) as error:
            raise ArtefactError(
                f"what {path} serves cannot be opened by this release ({error}); export it again"
            ) from None
        self.nodes: Nodes = nodes_of(self._chain, self.served.folder)
        self._rules: Rules | None = None
        blocks = Path(os.environ.get(BLOCKED_VARIABLE) or blocked_file(self.served.repository))
        self._blocked = BlockedItems(blocks, self.served.folder, console.say)

    @property
    def rules(self) -> Rules:
        """What the stock and the rules ask of items."""
        if self._rules is None:
            self._rules = rules_of(self.served)
        return self._rules

    def asked(
        self,
        asked: RawQuestion,
        most_left_out: int = MOST_LEFT_OUT,
        *,
        without: Sequence[int | str] = (),
        counts_candidates: bool = True,
    ) -> Answer:
        """Answer a question as people put it.

        Args:
            asked: the question.
            most_left_out: see `answer`.
            without: raw ids of items that the user is to have had nothing to do with.
            counts_candidates: see `changes_of`.

        Raises:
            UnknownItem: the catalogue lacks the item.
            RequestError: a value is not of its type, or the chain refuses the request.
        """
        question = asked.checked(self._chain, self.ids)
        blocked = self._blocked.rows()
        notes = ["the item is blocked (`cascade unblock` lets it be shown again)"] if question.row in blocked else []
        left_out = replace(question, parsed=self._blocked.leave_out(question.parsed))
        found = self.answer(
            left_out,
            item=asked.item,
            user=asked.user,
            most_left_out=most_left_out,
            removed=self._rows(without),
            counts_candidates=counts_candidates,
        )
        return msgspec.structs.replace(found, notes=[*notes, *found.notes])

    def funnel(self, request: RawRequest, *, without: Sequence[int | str] = (), names: Names = OPTIONS) -> Funnel:
        """Answer a request, and say what each step left.

        Args:
            request: as people put it.
            without: raw ids of items that the user is to have had nothing to do with.
            names: in the sentences of what is wrong.

        Raises:
            UnknownItem: the catalogue lacks an item of `without`.
            RequestError: a value is not of its type, or the chain refuses the request.
        """
        parsed = request.checked(self._chain, names)
        with (
            self._state_known(),
            live_as_before(self.nodes),
            shortened(self.nodes, parsed, self._rows(without)) as (nodes, shorter),
        ):
            return funnel_of(ran(nodes, shorter, self._blocked.rows()), self.rules, self.ids)

    @property
    def blocked(self) -> NDArray:
        """Rows of the items that are blocked for all, ascending."""
        return self._blocked.rows()

    def run(self, parsed: Parsed) -> Arrays:
        """All arrays of a checked request, of any users; blocked items are left out."""
        self._blocked.rows()
        return self.nodes.run(self._blocked.leave_out(parsed))

    def _rows(self, items: Sequence[int | str]) -> NDArray:
        return np.array([row_of(item, self.nodes.spec, self.ids) for item in items], np.int64)

    @property
    def events(self) -> Path | None:
        """The folder of live events that count; None where there is none."""
        return self._state

    @property
    def chain(self) -> Chain:
        """What is asked."""
        return self._chain

    @property
    def ids(self) -> NDArray:
        """Raw item ids by row."""
        found: NDArray = load_array(self.served.folder / "ids/items.npy")
        return found

    def answer(
        self,
        question: Question,
        *,
        item: int | str,
        user: int | str | None,
        most_left_out: int = MOST_LEFT_OUT,
        removed: NDArray = NOTHING,
        counts_candidates: bool = True,
    ) -> Answer:
        """Answer a question.

        Args:
            question: checked, or of a log.
            item: its raw id, as the answer names it.
            user: the same of the user; None where a log does not say.
            most_left_out: items of the history that the chain is run without; 0: none, and no change is tried.
            removed: rows of items that the user is to have had nothing to do with.
            counts_candidates: see `changes_of`.
        """
        with (
            self._state_known(),
            live_as_before(self.nodes),
            shortened(self.nodes, question.parsed, removed) as (nodes, parsed),
        ):
            asking = Asking(nodes, replace(question, parsed=parsed))
            way = asking.way
            deep = deep_ranks(way)
            lost = lost_at(way, deep)
            steps = steps_of(asking, self.rules, lost, deep)
            tried = (
                list(changes_of(asking, self.rules, lost, deep, self.nodes.spec.filter_seen, counts_candidates))
                if most_left_out
                else []
            )
            history = history_of(asking) if way.is_ranked and not way.is_blocked else []
            left = left_out(asking, history[:most_left_out])
        offset = int(way.arrays[LIVE_OFFSET][0, 0]) if LIVE_OFFSET in way.arrays else AWAY
        outcome = Outcome.of(way)
        return Answer(
            item_id=item,
            user_id=user,
            is_shown=way.place is not None,
            summary=summary_of(way, lost, steps),
            outcome=Outcome(lost, *(getattr(outcome, name) for name in ("place", "rank", "score", "merged_score"))),
            slate_size=way.wanted,
            path=PATHS[way.path],
            steps=steps,
            changes=tried,
            history=left,
            version=self.served.version,
            layout=self.served.layout,
            stream_offset=None if offset == AWAY else offset,
            notes=self._notes(question, len(history), most_left_out, offset),
        )

    def _notes(self, question: Question, num_history: int, most: int, offset: int) -> list[str]:
        notes = []
        if int(question.parsed.user_row[0]) < 0:
            notes.append("the user is not among those that this chain was exported with")
        if self.served.own_code:
            notes.append(
                "the repository serves with the runtime of another release than this one, which found the answer; "
                "export again to have both the same"
            )
        if self.nodes.spec.live is not None and offset == AWAY and self._reads_events:
            notes.append("the state of live events was not read: give --events, or the answer is that of the export")
        if num_history > most > 0:
            notes.append(
                f"of {num_history:,} items of the history, the chain was run without each of the first {most:,}"
            )
        return notes

    def _state_known(self) -> AbstractContextManager[None]:
        """Chains that are opened here read this state."""
        if self._state is None:
            has_store = self._reads_events and os.environ.get(STORE_VARIABLE)
            return nullcontext() if has_store else without_live_state()
        return events_in(self._state)


def _state_of(path: Path, served: Served, events: Path | None) -> Path | None:
    if events is not None:
        if not events.is_dir():
            raise ArtefactError(f"--events {events} is no folder; give the one that `cascade serve` was started with")
        return events
    if os.environ.get(STORE_VARIABLE):
        return None
    found = events_folder(path, served.repository)
    return found if found.is_dir() else None
