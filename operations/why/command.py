"""What `cascade why` does."""

from __future__ import annotations

from pathlib import Path

import msgspec

from operations.why.explain import Explainer
from operations.why.question import RawQuestion
from operations.why.table import print_answer

__all__ = ["why_command"]


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
    answer = Explainer(target, run, events).asked(asked)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(answer), indent=1).decode())
    else:
        print_answer(answer)
