"""`cascade why`: why an item is in a user's slate, and why not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import one_sentence_errors
from scripts.recommend import pair

__all__ = ["why"]


@one_sentence_errors
def why(
    item: Annotated[str, typer.Argument(help="Raw item id.")],
    target: Annotated[Path, typer.Argument(help="Run directory or published model repository.")],
    user_id: Annotated[str, typer.Option("--user-id", help="Raw user id.")],
    context: Annotated[
        list[str], typer.Option("--context", metavar="NAME=VALUE", help="Context of the request; repeatable.")
    ] = [],
    recent_item_id: Annotated[list[str], typer.Option("--recent-item-id", help="Oldest first; repeatable.")] = [],
    exclude_item_id: Annotated[list[str], typer.Option("--exclude-item-id", help="Repeatable.")] = [],
    slate_size: Annotated[int | None, typer.Option("--slate-size", help="Items of the slate.")] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="Run that a published version was exported from: names the rules.")
    ] = None,
    events: Annotated[
        Path | None, typer.Option("--events", help="Folder of live events; else in the run or beside the repository.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say at which step an item was lost, by how much, and what would have changed it.

    The served chain itself runs here, once as it is and once for each thing that could be otherwise.
    """
    from operations.why.command import why_command
    from operations.why.question import RawQuestion, UnknownItem
    from workflows.core import console

    asked = RawQuestion(item, user_id, dict(map(pair, context)), recent_item_id, exclude_item_id, slate_size)
    try:
        why_command(target, asked, run=run, events=events, as_json=as_json)
    except UnknownItem as error:
        # An answer of its own: the item is lost before the chain, which is no failure of the command.
        console.fail(str(error))
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(why)
