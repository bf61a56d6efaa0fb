"""`cascade recommend`: ask a running server for slates."""

from __future__ import annotations

from typing import Annotated

import typer

from scripts.common import one_sentence_errors
from scripts.output import run_alone
from workflows.core.errors import RequestError

__all__ = ["pair", "recommend"]


@one_sentence_errors
def recommend(
    user_id: Annotated[list[str], typer.Option("--user-id", help="Raw user id; repeatable.")],
    url: Annotated[str, typer.Option("--url", help="host:port of the gRPC endpoint, or http://host:port.")] = (
        "localhost:8001"
    ),
    context: Annotated[
        list[str], typer.Option("--context", metavar="NAME=VALUE", help="Context for all users; repeatable.")
    ] = [],
    recent_item_id: Annotated[list[str], typer.Option("--recent-item-id", help="Oldest first; repeatable.")] = [],
    exclude_item_id: Annotated[list[str], typer.Option("--exclude-item-id", help="Repeatable.")] = [],
    slate_size: Annotated[int | None, typer.Option("--slate-size", help="Items per slate.")] = None,
    min_offset: Annotated[
        int | None,
        typer.Option("--min-offset", help="Wait up to 50 ms for the events below it: an event's own offset, plus 1."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of a chain that explores: what slates are drawn with.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option("--policy", help="Of the same: deterministic, or softmax to draw each slate.")
    ] = None,
    timeout_s: Annotated[float, typer.Option("--timeout-s", help="How long to wait for the answer.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print a slate for each user."""
    from ensemble.serving.commands import recommend_command

    recommend_command(
        url,
        user_id,
        context=dict(map(pair, context)),
        recent_item_ids=recent_item_id,
        exclude_item_ids=exclude_item_id,
        slate_size=slate_size,
        min_offset=min_offset,
        seed=seed,
        policy=policy,
        timeout_s=timeout_s,
        as_json=as_json,
    )


def pair(text: str) -> tuple[str, str]:
    """The name and the value of a --context.

    Raises:
        RequestError: it has no name, or no equals sign.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise RequestError(f"--context {text}: expected name=value, for example --context device=mobile")
    return name, value


if __name__ == "__main__":
    run_alone(recommend)
