"""What `cascade recommend` does."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from ensemble.serving.client import TIMEOUT_S, CascadeClient
from ensemble.serving.slates import Id, Slates
from workflows.core.errors import RequestError

__all__ = ["recommend_command"]


def recommend_command(
    url: str,
    user_ids: Sequence[str],
    *,
    as_json: bool = False,
    slate_size: int | None = None,
    timeout_s: float = TIMEOUT_S,
) -> int:
    """Ask a server for slates and print them on standard output, as a table or as JSON.

    Args:
        url: see CascadeClient.
        user_ids: as typed; read as integers where the server's ids are integers.
        as_json: print a JSON list with one object a user.
        slate_size: items wanted; the server's own number by default.
        timeout_s: longest wait for an answer.

    Returns:
        0.

    Raises:
        RequestError: an id is not of the server's type, or the server refused the request.
        ServingError: no server answered, or not in time.
    """
    with CascadeClient(url, timeout_s=timeout_s) as client:
        slates = client.recommend(_typed(user_ids, client.inputs["user_id"]), slate_size=slate_size)
    if as_json:
        print(slates.to_json())
    else:
        Console(highlight=False).print(_table(slates))
    return 0


def _typed(user_ids: Sequence[str], datatype: str) -> list[Id]:
    if datatype == "BYTES":
        return list(user_ids)
    try:
        return [int(user_id) for user_id in user_ids]
    except ValueError as error:
        wrong = str(error).rpartition(": ")[2]
        raise RequestError(f"--user-id must be an integer on this server, got {wrong}") from None


def _table(slates: Slates) -> Table:
    table = Table("user", "path", "rank", "item", "score")
    for slate in slates:
        for rank, (item, score) in enumerate(zip(slate.item_ids, slate.scores, strict=True), start=1):
            head = (str(slate.user_id), slate.path) if rank == 1 else ("", "")
            table.add_row(*head, str(rank), str(item), f"{score:.4f}")
        if not slate.item_ids:
            table.add_row(str(slate.user_id), slate.path, "-", "(no eligible item)", "-")
        table.add_section()
    return table
