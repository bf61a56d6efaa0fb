"""What `cascade recommend` does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cascade_client import CascadeClient, Slates
from cascade_client.exchange import TIMEOUT_S
from ensemble.serving.client_errors import as_ours
from workflows.core import console
from workflows.core.errors import RequestError

__all__ = ["context_value", "recommend_command"]


def recommend_command(
    url: str,
    user_ids: Sequence[str],
    *,
    context: Mapping[str, str] | None = None,
    recent_item_ids: Sequence[str] = (),
    exclude_item_ids: Sequence[str] = (),
    slate_size: int | None = None,
    min_offset: int | None = None,
    seed: int | None = None,
    policy: str | None = None,
    timeout_s: float = TIMEOUT_S,
    as_json: bool = False,
) -> int:
    """Ask a server for slates and print them on standard output, as a table or as JSON.

    Args:
        url: see CascadeClient.
        user_ids: as typed; these and the item ids are read as integers where the server's ids are integers.
        context: text by context feature, the same for all users; an empty one is a value that is not known.
        recent_item_ids: the same for all users, oldest first.
        exclude_item_ids: the same for all users.
        slate_size: items wanted; the server's own number by default.
        min_offset: of a server with live events: see CascadeClient.recommend.
        seed: of a server that explores: see CascadeClient.recommend.
        policy: of a server that explores: see CascadeClient.recommend.
        timeout_s: longest wait for an answer.
        as_json: print a JSON list with one object a user.

    Returns:
        0.

    Raises:
        RequestError: a value is not of the server's type, or the server refused the request.
        ServingError: no server answered, or not in time.
    """
    # Nothing is tried again: whoever types a command wants to read at once that there is no server.
    with as_ours(), CascadeClient(url, timeout_s=timeout_s, retry=None) as client:
        recent = _typed(client, "recent_item_ids", recent_item_ids)
        excluded = _typed(client, "exclude_item_ids", exclude_item_ids)
        slates = client.recommend(
            _typed(client, "user_id", user_ids),
            context={
                name: [context_value(client, name, text)] * len(user_ids) for name, text in (context or {}).items()
            },
            recent_item_ids=[recent] * len(user_ids) if recent else None,
            exclude_item_ids=[excluded] * len(user_ids) if excluded else None,
            slate_size=slate_size,
            min_offset=min_offset,
            seed=seed,
            policy=policy,
        )
    if as_json:
        print(slates.to_json())
    else:
        Console(highlight=False).print(_table(slates))
    return 0


def _typed(client: CascadeClient, name: str, texts: Sequence[str]) -> list[Any]:
    """The texts as the server's datatype of the input `name`; the client refuses a name that the model lacks."""
    datatype = client.inputs.get(name, "BYTES")
    read = {"BYTES": str, "FP32": float, "FP64": float}.get(datatype, int)
    try:
        return [read(text) for text in texts]
    except ValueError:
        kind = "integer" if read is int else "number"
        raise RequestError(f"{name} must be {kind}s on this server, got {', '.join(map(repr, texts))}") from None


def context_value(client: CascadeClient, name: str, text: str) -> Any:
    """A value as the server's datatype takes it: an empty one is not known, true and false are 1 and 0.

    Raises:
        RequestError: it is not of that type.
    """
    datatype = client.inputs.get(name, "BYTES")
    if datatype == "BYTES":
        return text
    if datatype == "INT64" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if not text.strip():
        return None
    try:
        number = Decimal(text)
        if datatype != "INT64" or number == number.to_integral_value():
            return number
    except InvalidOperation:
        pass
    kind = "integer" if datatype == "INT64" else "number"
    raise RequestError(f"{name} must be {kind}s on this server, got {text!r}")


def _caption(slates: Slates) -> str | None:
    """Up to where the slates know live events; None where the server takes none."""
    offsets = [slate.stream_offset for slate in slates if slate.stream_offset is not None]
    if not offsets:
        return None
    return f"with live events below offset {min(offsets)}" if min(offsets) >= 0 else "without a live state"


def _table(slates: Slates) -> Table:
    """One row an item; ids and paths as they are, not as rich's markup or a terminal would take them."""
    explores = any(slate.explored is not None for slate in slates)
    table = Table("user", "path", "rank", "item", "score", caption=_caption(slates))
    if explores:
        table.add_column("probability")
    for slate in slates:
        path = console.plain(f"{slate.path}, drawn with seed {slate.seed}" if slate.explored else slate.path)
        logs = slate.log_propensity or [0.0] * slate.num_items
        for rank, (item, score, log) in enumerate(zip(slate.item_ids, slate.scores, logs, strict=True), start=1):
            head = (console.plain(slate.user_id), path) if rank == 1 else ("", "")
            drawn = [f"{math.exp(log):.4f}"] if explores else []
            table.add_row(*head, str(rank), console.plain(item), f"{score:.4f}", *drawn)
        if not slate.item_ids:
            table.add_row(console.plain(slate.user_id), path, "-", Text("(no eligible item)"), "-")
        table.add_section()
    return table
