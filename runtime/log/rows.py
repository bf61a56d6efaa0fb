"""The arrays of a record: a checked request and its answer in rows of the chain, which name no user."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.ids import IdMap
from runtime.log.folder import Salt
from runtime.log.sampling import users_of
from runtime.request import Parsed
from runtime.step import Arrays

__all__ = ["CONTEXT", "LIVE_AT", "LIVE_RECENT", "answer_arrays", "request_arrays", "user_keys"]

CONTEXT = "context_"
# Of a chain with live events: the instant that a slate is for, and names of the request's recent items.
LIVE_AT, LIVE_RECENT = "live_at", "live_recent"
ANSWERED: Mapping[str, Any] = {
    "num_items": np.int32,
    "path": object,
    "stream_offset": np.int64,
    "state_age_ms": np.int64,
}


def user_keys(salt: Salt, ids: NDArray) -> NDArray[np.uint8]:
    """uint8 [B, 16] of raw user ids [B, 1]."""
    keys = b"".join([salt.user_key(user) for user in users_of(ids)])
    return np.frombuffer(keys, np.uint8).reshape(-1, 16)


def request_arrays(parsed: Parsed, now: int, dropped: Collection[str]) -> Arrays:
    """What a checked request asks; `now` is the instant that it was answered for, nanoseconds."""
    arrays: Arrays = {
        "user_row": parsed.user_row,
        "recent": parsed.recent,
        "exclude": parsed.exclude,
        "slate_size": parsed.slate_size,
        **{CONTEXT + name: values for name, values in parsed.context.items() if name not in dropped},
    }
    if parsed.live is not None:
        arrays[LIVE_AT], arrays[LIVE_RECENT] = np.full(len(parsed.user_row), now, np.int64), parsed.live.recent
    return arrays


def answer_arrays(answer: Mapping[str, NDArray], items: IdMap) -> Arrays:
    """What was answered; raw item ids become rows, -1 is padding."""
    arrays: Arrays = {"item_rows": items.rows("item_id", answer["item_id"]), "score": answer["score"]}
    named = ((name, dtype) for name, dtype in ANSWERED.items() if name in answer)
    return arrays | {name: answer[name].reshape(-1).astype(dtype) for name, dtype in named}
