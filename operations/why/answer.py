"""What `cascade why` answers, as it is printed with --json."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from operations.why.asking import Outcome

__all__ = ["Answer", "Change", "Left", "State", "Step"]

State = Literal["passed", "lost", "not reached", "to know"]


class Step(msgspec.Struct, frozen=True):
    """What one step made of the item.

    Attributes:
        name: of the step, or of what is asked of the item there.
        state: whether the item went on; "to know" where it says something of the request.
        words: what happened, with figures.
        figures: the same figures by name.
    """

    name: str
    state: State
    words: str
    figures: dict[str, Any] = {}


class Change(msgspec.Struct, frozen=True):
    """Something that could be otherwise, and what would become of the item then: the chain was run with it.

    Attributes:
        kind: such as "rule" or "candidates".
        words: what is changed.
        outcome: what becomes of the item.
        figures: such as the number of candidates.
    """

    kind: str
    words: str
    outcome: Outcome
    figures: dict[str, Any] = {}


class Left(msgspec.Struct, frozen=True):
    """What would become of the item had the user not interacted with another one.

    Attributes:
        item_id: the other one.
        change: of the item's score, where it is ranked both times; else of its merged score; null where it has none.
        outcome: what becomes of the item.
    """

    item_id: int | str
    change: float | None
    outcome: Outcome


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Why an item is in a slate, or why not.

    Attributes:
        item_id, user_id: as asked.
        is_shown: whether it is in the slate.
        summary: a sentence.
        outcome: of the item, as it is served.
        slate_size: S.
        path: what the slate rests on.
        steps: what each made of the item, in order.
        changes: what would have changed it.
        history: what each item of the user's history does to it, the largest change first.
        version: that is served.
        layout: of its repository.
        stream_offset: the position of the live state; null without one.
        notes: what a reader must know of how it was found.
    """

    item_id: int | str
    user_id: int | str | None
    is_shown: bool
    summary: str
    outcome: Outcome
    slate_size: int
    path: str
    steps: list[Step]
    changes: list[Change]
    history: list[Left]
    version: str
    layout: str
    stream_offset: int | None
    notes: list[str]
