"""From the slates of two versions to one slate a user, or that of one version where the other gave none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.drafts.spec import BOTH, TEAM, VARIANT, DraftSpec
from runtime.ids import as_bytes
from runtime.interleave import FIRST, NOBODY, SECOND, interleave, seed_of
from runtime.step import Arrays

__all__ = ["drafted", "whole"]

OF_SLATE = ("item_id", "score", "num_items")
Answer = Mapping[str, NDArray]


def drafted(
    spec: DraftSpec, user_ids: NDArray, request_id: str, sizes: NDArray[np.int32], answers: tuple[Answer, Answer]
) -> Arrays:
    """Draft the slates of one request.

    Args:
        spec: whose slates these are.
        user_ids: raw, [B, 1].
        request_id: of the request; the tosses follow from it.
        sizes: int32 [B], items wanted.
        answers: of both teams, the arrays of a chain's response.

    Returns:
        The response: item_id and score [B, S], of the version that chose the place; num_items [B, 1]; what the control
        says of a slate; team int32 [B, S], NOBODY where there is no item; variant [B, 1], BOTH.
    """
    users = [as_bytes(user).decode("utf-8", "surrogateescape") for user in user_ids[:, 0].tolist()]
    rows = [
        _draft(spec.salt, user, request_id, int(size), pair)
        for user, size, *pair in zip(users, sizes, *map(_slates, answers), strict=True)
    ]
    first, width = answers[0], max(len(items) for items, _, _ in rows)
    given = {name: values for name, values in first.items() if name not in OF_SLATE}
    if "stream_offset" in given:  # up to where both know the events
        given["stream_offset"] = np.minimum(*(answer["stream_offset"] for answer in answers))
    return {
        **given,
        "item_id": _padded([items for items, _, _ in rows], width, first["item_id"]),
        "score": _padded([scores for _, scores, _ in rows], width, first["score"]),
        "num_items": np.array([[len(items)] for items, _, _ in rows], np.int32),
        TEAM: _padded([teams for _, _, teams in rows], width, np.zeros(0, np.int32)),
        VARIANT: _texts(BOTH, len(rows)),
    }


def whole(answer: Answer, variant: str) -> Arrays:
    """The slates of one version as they are, for a request that the other could not answer.

    Args:
        answer: the arrays of a chain's response.
        variant: whose it is.
    """
    shape = answer["item_id"].shape
    return {**answer, TEAM: np.full(shape, NOBODY, np.int32), VARIANT: _texts(variant, len(answer["item_id"]))}


Slate = tuple[list[Any], list[float]]


def _draft(salt: str, user: str, request_id: str, size: int, slates: Sequence[Slate]) -> tuple[list, list, list]:
    """Items, scores and teams of one user."""
    codes: dict[Any, int] = {}
    for items, _ in slates:
        for item in items:
            codes.setdefault(item, len(codes))
    orders = [[codes[item] for item in items] for items, _ in slates]
    made = interleave(orders[FIRST], orders[SECOND], size, seed_of(salt, user, request_id))
    known, teams = list(codes), made.teams.tolist()
    # What nobody chose is in both, or in the one that had items left.
    scores = [dict(zip(order, values, strict=True)) for order, (_, values) in zip(orders, slates, strict=True)]
    chosen = [
        scores[team][code] if team != NOBODY else scores[FIRST].get(code, scores[SECOND].get(code, 0.0))
        for code, team in zip(made.items.tolist(), teams, strict=True)
    ]
    return [known[code] for code in made.items.tolist()], chosen, teams


def _slates(given: Answer) -> list[Slate]:
    """Items and scores of each user, without padding."""
    counts = given["num_items"][:, 0].tolist()
    rows = zip(given["item_id"].tolist(), given["score"].tolist(), counts, strict=True)
    return [(items[:count], scores[:count]) for items, scores, count in rows]


def _padded(rows: Sequence[Sequence[Any]], width: int, like: NDArray) -> NDArray:
    """Rows of different lengths as [B, width], with a chain's padding: b"" and -1 of ids, 0 of scores."""
    filler: Any = b"" if like.dtype == object else 0.0 if like.dtype.kind == "f" else NOBODY
    made = np.full((len(rows), width), filler, like.dtype)
    for row, values in zip(made, rows, strict=True):
        row[: len(values)] = values
    return made


def _texts(text: str, number: int) -> NDArray[np.object_]:
    return np.full((number, 1), text.encode(), object)
