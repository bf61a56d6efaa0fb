"""What `cascade demo` shows of live events: a user clicks, and the next slate knows it."""

from __future__ import annotations

import time

from cascade_client import CascadeClient, Id
from ensemble.serving.client_errors import as_ours
from workflows.core import console
from workflows.core.errors import ServingError

__all__ = ["click"]

NUM_CLICKS = 3


def click(url: str, user_id: str, slate_size: int) -> None:
    """Print a user's slate, send clicks on its first items, and print the next slate.

    Args:
        url: of the server.
        user_id: as typed.
        slate_size: items shown.

    Raises:
        ServingError: the server cannot be reached, or does not take the clicks.
        RequestError: the server refuses the user.
    """
    with as_ours(), CascadeClient(url) as client:
        user: Id = user_id if client.inputs.get("user_id") == "BYTES" else int(user_id)
        before = client.recommend([user], slate_size=slate_size)[0].item_ids
        clicked = before[:NUM_CLICKS]
        clicked_at = time.perf_counter()
        outcomes = client.send([{"user_id": user, "item_id": item} for item in clicked])
        if refused := [outcome.reason for outcome in outcomes if outcome.status == "refused"]:
            raise ServingError(f"the server did not take the clicks: {refused[0]}")
        after = client.recommend([user], slate_size=slate_size)[0].item_ids
        took_ms = 1000 * (time.perf_counter() - clicked_at)
    console.say(f"demo: user {user_id} is shown {_shown(before)}")
    console.say(f"demo: user {user_id} clicks on {_shown(clicked)}")
    num_new = len({*after} - {*before})
    console.say(f"demo: {took_ms:.0f} ms later user {user_id} is shown {_shown(after)} ({num_new} of {len(after)} new)")


def _shown(items: list[Id]) -> str:
    return ", ".join(map(str, items))
