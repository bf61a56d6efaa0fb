"""What `cascade why` does."""

from __future__ import annotations

from pathlib import Path

from operations.why.answer import Answer
from operations.why.explain import Explainer
from operations.why.logged import explain_logged
from operations.why.question import RawQuestion
from operations.why.table import print_answer
from workflows.core.shown import print_json

__all__ = ["why_command", "why_logged"]


def why_command(
    target: Path, asked: RawQuestion, *, run: Path | None = None, events: Path | None = None, as_json: bool = False
) -> None:
    """Say why an item is in a user's slate, or why not, on standard output.

    Args:
        target: a run directory or a published repository.
        asked: the question.
        run: the run that a published version was exported from.
        events: folder of live events.
        as_json: print JSON.

    Raises:
        ArtefactError: there is no such chain, or it cannot be opened.
        RequestError: the item is unknown, a value is not of its type, or the chain refuses the request.
    """
    _print(Explainer(target, run, events).asked(asked), as_json=as_json)


def why_logged(
    folder: Path,
    request_id: str,
    item: str,
    *,
    user: int | None = None,
    target: Path | None = None,
    as_json: bool = False,
) -> None:
    """Say why an item was in a slate that is logged, or why not, on standard output.

    Args:
        folder: MON.
        request_id: see `explain_logged`.
        item: raw id.
        user: see `explain_logged`.
        target: see `explain_logged`.
        as_json: print JSON.

    Raises:
        CascadeError: see `explain_logged`.
    """
    _print(explain_logged(folder, request_id, item, user=user, target=target), as_json=as_json)


def _print(answer: Answer, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        print_answer(answer)
