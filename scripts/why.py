"""`cascade why`: why an item is in a user's slate, and why not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.common import one_sentence_errors
from scripts.output import run_alone
from scripts.recommend import pair

__all__ = ["why"]


@one_sentence_errors
def why(
    item: Annotated[str, typer.Argument(help="Raw item id.")],
    target: Annotated[
        Path | None,
        typer.Argument(help="Run directory or published model repository; of a logged request the one that answered."),
    ] = None,
    user_id: Annotated[str | None, typer.Option("--user-id", help="Raw user id.")] = None,
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
    request_id: Annotated[str, typer.Option("--request-id", help="Explain a logged request of this id.")] = "",
    log: Annotated[
        Path | None, typer.Option("--log", metavar="MON", help="Folder of `cascade log collect` that has the request.")
    ] = None,
    user: Annotated[
        int | None, typer.Option("--user", min=1, help="Which user of the logged request, from 1 on.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say at which step an item was lost, by how much, and what would have changed it.

    The served chain itself runs here, once as it is and once for each thing that could be otherwise. Exit status 2: the
    catalogue lacks the item, or a logged request cannot be asked again, and why.
    """
    from operations.replay.errors import NotReplayableError
    from operations.why.command import why_command, why_logged
    from operations.why.question import RawQuestion, UnknownItem
    from workflows.core import console
    from workflows.core.errors import RequestError

    given = {
        "--user-id": user_id, "--context": context, "--recent-item-id": recent_item_id,
        "--exclude-item-id": exclude_item_id, "--slate-size": slate_size, "--run": run, "--events": events,
    }  # fmt: skip
    try:
        if request_id or log is not None:
            if not request_id or log is None:
                raise RequestError("a logged request needs both --request-id R and --log MON")
            if said := [option for option, value in given.items() if value]:
                raise RequestError(f"--request-id: what was asked is logged; leave out {', '.join(said)}")
            why_logged(log, request_id, item, user=user, target=target, as_json=as_json)
            return
        if target is None or user_id is None or user is not None:
            raise RequestError("say RUN --user-id U, or --request-id R --log MON for a request that is logged")
        asked = RawQuestion(item, user_id, dict(map(pair, context)), recent_item_id, exclude_item_id, slate_size)
        why_command(target, asked, run=run, events=events, as_json=as_json)
    except (UnknownItem, NotReplayableError) as error:
        # An answer of its own, which is no failure of the command.
        console.fail(str(error))
        raise typer.Exit(2) from None


if __name__ == "__main__":
    run_alone(why)
