"""`cascade block` and `cascade unblock`: items that no slate of a running server shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import JsonOption, one_sentence_errors
from scripts.output import run_alone
from workflows.core import console
from workflows.core.errors import RequestError
from workflows.core.shown import print_json

__all__ = ["block", "unblock"]

RepoOption = Annotated[Path, typer.Option("--repo", help="Run or published model repository.")]
CacheOption = Annotated[str | None, typer.Option("--cache", help="A cache of slates that is to be told at once too.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept with the time.")]


@one_sentence_errors
def block(
    items: Annotated[
        list[str] | None, typer.Argument(metavar="[ITEM]...", help="Item ids; none: say which are.")
    ] = None,
    repo: RepoOption = Path("triton_repo"),
    reason: ReasonOption = "",
    cache: CacheOption = None,
    json: JsonOption = False,
) -> None:
    """Show items in no slate any more; running servers know within a second. Without an item, list those blocked."""
    from operations.blocks import blocked_now

    if items:
        if json:
            raise RequestError("--json prints the items that are blocked: name none, or drop it")
        _change(repo, items, reason, cache, block=True)
        return
    blocked = blocked_now(repo)
    if json:
        print_json(blocked)
        return
    for one in blocked:
        print("\t".join([one.at, str(one.item_id), one.reason]))
    if not blocked:
        console.say("no item is blocked")


@one_sentence_errors
def unblock(
    items: Annotated[list[str], typer.Argument(metavar="ITEM...", help="Item ids.")],
    repo: RepoOption = Path("triton_repo"),
    reason: ReasonOption = "",
    cache: CacheOption = None,
) -> None:
    """Let items into slates again; running servers know within a second."""
    _change(repo, items, reason, cache, block=False)


def _change(repo: Path, items: list[str], reason: str, cache: str | None, *, block: bool) -> None:
    from operations.blocks import change_blocks, say, tell_cache

    change = change_blocks(repo, items, block=block, reason=reason)
    say(change, block=block)
    if cache is not None:
        tell_cache(cache, change)


if __name__ == "__main__":
    run_alone(block)
