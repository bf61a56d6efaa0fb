"""What a recommendation request answers, typed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Union

__all__ = ["Id", "Slate", "Slates"]

# What only servers with live events say.
LIVE = ("stream_offset", "state_age_ms")
# What only servers that explore say.
SAID_OF_DRAW = ("policy", "explored", "log_propensity", "seed")
# What is not said where it is not known: the above, what only servers with a utility say, and what only clients with
# experiments do.
OPTIONAL = (*LIVE, *SAID_OF_DRAW, "utilities", "experiment", "team", "variant", "request_id", "position")
# An id as it is in the data of the server.
Id = Union[int, str]


@dataclass(frozen=True)
class Slate:
    """The slate of one user.

    Attributes:
        user_id: as it was asked.
        item_ids: raw item ids, descending score, ties by id.
        scores: of the items, in the same order: the ranker's probability of its label or, on the path "popularity",
            the item's popularity divided by the largest, which is not a probability.
        path: what the slate was made from: "known_user", "history", "context" or "popularity".
        stream_offset: events with smaller offsets are in the slate; -1 where the server has no live state now; None
            where it serves none.
        state_age_ms: time since the user's last event; -1 where the live state knows none; None as above.
        policy: "softmax" where the slate was drawn at random, else "deterministic"; None, as the three below, where the
            server does not explore.
        explored: whether it was drawn. Its items are then in the order of the draw, not in that of their scores.
        log_propensity: of each item, the natural logarithm of the probability with which its place took it, given the
            items before it; 0 where nothing was drawn.
        seed: what it was drawn with; sent again with an equal request, it gives an equal slate.
        utilities: what each item is worth on average, by which the slate is ordered; None where the server orders by
            score.
        experiment: "experiment=variant" that this slate is of; "" of none; None where the client knows no experiments.
        team: of an experiment that interleaves: who chose each place, 0 the control, 1 the other, -1 neither; None of
            another slate.
        variant: of the same: "both", or the variant whose slate this is, since the other could not answer; "" of
            neither.
        request_id: by which the server knows it, where a request was split by variant; None: that of the request.
        position: of the user in that; None: that in the request.
    """

    user_id: Id
    item_ids: list[Id]
    scores: list[float]
    path: str
    stream_offset: int | None = None
    state_age_ms: int | None = None
    policy: str | None = None
    explored: bool | None = None
    log_propensity: list[float] | None = None
    seed: int | None = None
    utilities: list[float] | None = None
    experiment: str | None = None
    team: list[int] | None = None
    variant: str | None = None
    request_id: str | None = None
    position: int | None = None

    @property
    def num_items(self) -> int:
        """How many items it holds; fewer than were asked for when too few are eligible."""
        return len(self.item_ids)


@dataclass(frozen=True)
class Slates:
    """The slates of one request, in the order of its users.

    Attributes:
        slates: one a user.
        request_id: by which a server that logs its requests knows this one, and feedback can name it.
    """

    slates: list[Slate]
    request_id: str = field(default="", compare=False)

    def __len__(self) -> int:
        return len(self.slates)

    def __iter__(self) -> Iterator[Slate]:
        return iter(self.slates)

    def __getitem__(self, position: int) -> Slate:
        return self.slates[position]

    def to_builtins(self) -> list[dict[str, Any]]:
        """A list with one dictionary a user; what the server or the client does not say is left out."""
        return [{k: v for k, v in asdict(slate).items() if v is not None or k not in OPTIONAL} for slate in self.slates]

    def to_json(self) -> str:
        """A JSON list with one object a user; a score that is no finite number is null."""
        rows = self.to_builtins()
        for row in rows:
            for name in {"scores", "utilities"} & set(row):
                row[name] = [value if math.isfinite(value) else None for value in row[name]]
        return json.dumps(rows, indent=2, ensure_ascii=False)
