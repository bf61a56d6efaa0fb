"""`cascade recommend`: ask a running server for slates."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from scripts.common import one_sentence_errors
from workflows.core.errors import RequestError

__all__ = ["recommend"]


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
    timeout_s: Annotated[float, typer.Option("--timeout-s", help="How long to wait for the answer.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print a slate for each user."""
    from ensemble.serving.client import CascadeClient

    with CascadeClient(url, timeout_s=timeout_s) as client:
        slates = client.recommend(
            user_id,
            context={name: [value] * len(user_id) for name, value in map(_pair, context)} or None,
            recent_item_ids=[recent_item_id] * len(user_id) if recent_item_id else None,
            exclude_item_ids=[exclude_item_id] * len(user_id) if exclude_item_id else None,
            slate_size=slate_size,
        )
    if as_json:
        print(json.dumps(slates.to_builtins()))
        return
    table = Table("user", "path", "rank", "item", "score")
    for slate in slates:
        for rank, (item, score) in enumerate(zip(slate.item_ids, slate.scores, strict=True), start=1):
            first = rank == 1
            table.add_row(
                str(slate.user_id) if first else "", slate.path if first else "", str(rank), str(item), f"{score:.4f}"
            )
        if not slate.item_ids:
            table.add_row(str(slate.user_id), slate.path, "-", "no item is left", "")
    Console(highlight=False).print(table)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise RequestError(f"--context {text}: expected name=value, for example --context device=mobile")
    return name, value


if __name__ == "__main__":
    typer.run(recommend)
