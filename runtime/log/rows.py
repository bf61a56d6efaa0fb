"""The arrays of a record: a checked request and its answer in rows of the chain, which name no user."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from runtime.drafts.spec import TEAM
from runtime.ids import NO_ITEM, IdMap
from runtime.log.folder import KEY_BYTES, Salt
from runtime.log.sampling import users_of
from runtime.request import Parsed
from runtime.step import Arrays

__all__ = [
    "CANDIDATE_ROWS",
    "CANDIDATE_SCORES",
    "CONTEXT",
    "EXPERIMENT",
    "FORCED_POLICY",
    "LIVE_AT",
    "LIVE_RECENT",
    "answer_arrays",
    "experiments",
    "request_arrays",
    "user_keys",
]

CONTEXT = "context_"
# Of a chain with live events: the instant that a slate is for, and names of the request's recent items.
LIVE_AT, LIVE_RECENT = "live_at", "live_recent"
# Of a chain that explores: the policy that a request asks for, and what drawn slates were drawn from.
FORCED_POLICY, CANDIDATE_ROWS, CANDIDATE_SCORES = "forced_policy", "candidate_rows", "candidate_scores"
# Arrays of an answer with one value a user.
A_VALUE_EACH = ("num_items", "path", "stream_offset", "state_age_ms", "policy", "variant")
# What each user is in, as who asks says: "experiment=variant", of several with ";" between them; empty: none.
EXPERIMENT = "experiment"
LONGEST_LABEL = 512
NO_ROW = np.int32(NO_ITEM)


def user_keys(salt: Salt, ids: NDArray) -> NDArray[np.uint8]:
    """uint8 [B, 16] of raw user ids [B, 1]."""
    keys = b"".join([salt.user_key(user) for user in users_of(ids)])
    return np.frombuffer(keys, np.uint8).reshape(-1, KEY_BYTES)


def experiments(said: str, num_users: int) -> Arrays:
    """The labels of users, of which one holds for all of them, or there is one a user with "," between them."""
    labels = [label[:LONGEST_LABEL].encode() for label in said.split(",")]
    if not said or len(labels) not in (1, num_users):
        return {}
    return {EXPERIMENT: np.array(labels * (num_users if len(labels) == 1 else 1), object)}


def request_arrays(parsed: Parsed, now: int, dropped: Collection[str]) -> Arrays:
    """What a checked request asks; `now` is the instant that it was answered for, nanoseconds."""
    arrays: Arrays = {
        "user_row": parsed.user_row,
        "recent": parsed.recent,
        "exclude": parsed.exclude,
        "slate_size": parsed.slate_size,
    }
    for name, values in parsed.context.items():
        if name not in dropped:
            arrays[CONTEXT + name] = values
    if parsed.live is not None:
        arrays[LIVE_AT], arrays[LIVE_RECENT] = np.array([now] * len(parsed.user_row), np.int64), parsed.live.recent
    if parsed.drawn is not None:
        arrays["seed"], arrays[FORCED_POLICY] = parsed.drawn.seeds, parsed.drawn.policy
    return arrays


def answer_arrays(
    answer: Mapping[str, NDArray],
    names: Mapping[str, str],
    items: IdMap,
    sampled: tuple[NDArray, NDArray] | None = None,
    shown: tuple[NDArray, NDArray] | None = None,
) -> Arrays:
    """What was answered; raw item ids become rows, -1 is padding.

    Args:
        answer: arrays [B, S] and [B, 1].
        names: the response's array -> its name in the answer.
        items: raw ids.
        sampled: item rows and utilities that slates were drawn from, see `runtime.steps.order.Order`.
        shown: the rows of the slates, at least as wide, and where they hold; looked up where they are not known.
    """
    given = answer[names["item_id"]]
    if shown is None:
        rows = items.rows("item_id", given)
    else:
        known, kept = shown
        width = given.shape[1]
        rows = np.where(kept[:, :width], known[:, :width], NO_ROW)
    arrays = {"item_rows": rows, "score": answer[names["score"]]}
    for name in A_VALUE_EACH:
        if name in names:
            arrays[name] = answer[names[name]][:, 0]
    if "explored" in names:
        arrays["explored"] = answer[names["explored"]][:, 0].astype(np.uint8)
        arrays["log_propensity"] = answer[names["log_propensity"]]
    if TEAM in names:
        arrays[TEAM] = answer[names[TEAM]]
    if sampled is not None:
        arrays[CANDIDATE_ROWS], arrays[CANDIDATE_SCORES] = sampled
    return arrays
