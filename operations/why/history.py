"""What each item of a user's history does to another item: the chain run once more without it."""

from __future__ import annotations

import numpy as np

from operations.why.answer import Left
from operations.why.asking import Asking, Outcome

__all__ = ["MOST_LEFT_OUT", "history_of", "left_out"]

MOST_LEFT_OUT = 64


def history_of(asking: Asking) -> list[int]:
    """The item rows that the user has interacted with: the latest first, then what is only known to be seen."""
    way, nodes = asking.way, asking.nodes
    row = int(asking.question.parsed.user_row[0])
    latest = [] if asking.live is None else asking.live.recent[0].tolist()
    latest = latest or asking.question.parsed.recent[0].tolist()
    path = nodes.folder / "state/history.npy"
    stored = np.load(path, mmap_mode="r")[row].tolist() if row >= 0 and path.is_file() else []
    seen = [item for user in way.queried.values() for item in user.seen.tolist()]
    found = dict.fromkeys([*reversed([*stored, *latest]), *seen])
    return [item for item in found if item >= 0 and item != asking.question.row]


def left_out(asking: Asking, items: list[int]) -> list[Left]:
    """What becomes of the item without each of some others, the largest change first."""
    if not items:
        return []
    before = Outcome.of(asking.way)
    outcomes = asking.outcomes_without([np.array([item]) for item in items])
    found = [
        Left(_id(asking, item), _change(before, after), after) for item, after in zip(items, outcomes, strict=True)
    ]
    return sorted(found, key=lambda left: (left.outcome.lost_at == before.lost_at, -abs(left.change or 0.0)))


def _change(before: Outcome, after: Outcome) -> float | None:
    for old, new in ((before.score, after.score), (before.merged_score, after.merged_score)):
        if old is not None and new is not None:
            return new - old
    return None


def _id(asking: Asking, row: int) -> int | str:
    found = asking.nodes.raw_id(row)
    return found.decode("utf-8", "surrogateescape") if isinstance(found, bytes) else found
