"""An answer of `cascade why` as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from operations.why.answer import Answer, Left
from operations.why.asking import Outcome
from operations.why.way import SHOWN
from workflows.core import console

__all__ = ["print_answer", "then"]

MOST_OF_HISTORY = 5


def print_answer(answer: Answer) -> None:
    """Print the sentence, the steps, what would have changed it and what the history does, on standard output."""
    out = Console(highlight=False)
    user = "a logged request" if answer.user_id is None else f"user {answer.user_id}"
    out.print(console.plain(f"item {answer.item_id} for {user}: {answer.summary}"), soft_wrap=True)
    for table in _tables(answer):
        out.print(table)
    for note in answer.notes:
        out.print(console.plain(f"note: {note}"), soft_wrap=True)


def _tables(answer: Answer) -> Iterator[Table]:
    steps = Table("step", "item", "what happened")
    for step in answer.steps:
        state = "" if step.state == "to know" else step.state
        steps.add_row(console.plain(step.name), state, console.plain(step.words))
    yield steps
    if answer.changes:
        changes = Table("what would change it", "the item then")
        for change in answer.changes:
            changes.add_row(console.plain(change.words), then(change.outcome))
        yield changes
    if answer.history:
        yield _history(answer.history)


def _history(left: list[Left]) -> Table:
    title = "without this item of the history"
    table = Table(title, "its score", "the item then")
    for one in left[:MOST_OF_HISTORY]:
        moved = "" if one.change is None else f"{one.change:+.4f}"
        table.add_row(console.plain(one.item_id), moved, then(one.outcome))
    if len(left) > MOST_OF_HISTORY:
        table.caption = f"{len(left) - MOST_OF_HISTORY} more change it less; --json has them all"
    return table


def then(outcome: Outcome) -> str:
    """What becomes of an item, in words."""
    if outcome.lost_at == SHOWN:
        return f"shown, at place {outcome.place:,}"
    rank = "" if outcome.rank is None else f", rank {outcome.rank:,} of the candidates"
    return f"lost at {outcome.lost_at}{rank}"
