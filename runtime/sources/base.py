"""The interface of a retrieval source: a step that finds items with scores, and a scorer for the merge."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from runtime.ids import NO_ITEM
from runtime.index.eligible import ELIGIBLE_FILE, LiveEligible
from runtime.seen import SEEN_FILES, SeenItems
from runtime.spec import LIVE_OFFSET, LIVE_SEEN, POPULARITY, ChainSpec, Tensor
from runtime.step import Arrays, Step, load_array, make_step

__all__ = ["Found", "QueriedUser", "Scorer", "Source", "make_source", "pad_rows", "real", "unmarked"]

# Item rows int64 [K] and their scores float32 [K], for one user.
Found = tuple[NDArray, NDArray]
# (query float32 [D], item rows int64 [K]) -> scores float32 [K], each independent of the others.
Scorer = Callable[[NDArray, NDArray], NDArray[np.float32]]
NOTHING: Found = (np.zeros(0, np.int64), np.zeros(0, np.float32))


class QueriedUser:
    """One user of a batch as all sources see it: what they read here, none of them may change.

    Attributes:
        place: in the batch.
        user_row: -1 for an unknown user.
        requested: item rows of the user's live events and of the request's recent items, oldest first.
        seen: distinct item rows that the user has interacted with, the requested ones among them, ascending.
        blocked: distinct item rows that must not be shown, ascending.
    """

    def __init__(self, place: int, user_row: int, requested: NDArray, seen: NDArray, blocked: NDArray) -> None:
        self.place, self.user_row, self.requested = place, user_row, requested
        self.seen, self.blocked = seen, blocked


class QueriedUsers:
    """The users of one batch, each worked out for the first source that asks and kept for the next ones.

    Args:
        key: what the batch is known by; no array of it is kept.
        seen: the seen items of all users.
        filter_seen: whether they must not be shown.
    """

    def __init__(self, key: Sequence[NDArray | None], seen: SeenItems, filter_seen: bool) -> None:
        self._key = [None if array is None else weakref.ref(array) for array in key]
        self._seen, self._filter_seen = seen, filter_seen
        self._users: dict[int, QueriedUser] = {}
        live_seen = key[-1]
        self._has_live_seen = live_seen is not None and bool((live_seen >= 0).any())

    def are_of(self, key: Sequence[NDArray | None], seen: SeenItems, filter_seen: bool) -> bool:
        """Whether they are the users of this very batch, told by its arrays themselves and not by what is in them."""
        known = [None if of is None else of() for of in self._key]
        is_same = all(array is own for array, own in zip(key, known, strict=True))
        return is_same and self._seen.folder == seen.folder and self._filter_seen == filter_seen

    def of(self, batch: Mapping[str, NDArray], place: int, user_row: int) -> QueriedUser:
        """The user at a place of the batch."""
        if (user := self._users.get(place)) is None:
            user = self._users[place] = self._made(batch, place, user_row)
        return user

    def _made(self, batch: Mapping[str, NDArray], place: int, user_row: int) -> QueriedUser:
        requested, excluded = real(batch["recent_rows"][place]), real(batch["excluded_rows"][place])
        more = requested
        if self._has_live_seen:
            more = np.concatenate([requested, real(batch[LIVE_SEEN][place])])
        seen = _union(self._seen.of(user_row), more)
        blocked = _union(seen, excluded) if self._filter_seen else _union(seen[:0], excluded)
        return QueriedUser(place, user_row, requested, seen, blocked)


# Of the batch under way, which the sources of a process are asked for one after the other.
_under_way = threading.local()


class Source(Step):
    """A retrieval source.

    Subclasses say in `find` what they find for one user. `{name}_items` int32 [B, K] holds item rows, -1 where there is
    none, and `{name}_scores` float32 [B, K] their scores; K may differ from batch to batch.

    Attributes:
        score_name: under which the ranker sees the source's score of every candidate; empty: it does not.
        is_sparse: whether what it does not give has the score 0; else the merge calls `scorer`.
        serves_unknown: whether it is queried for users of whom nothing is known.
        only_unknown: whether it is queried for no other user.
        checks_stock: whether `find` leaves out what `live` does not hold; else what it finds is filtered.
        live: where events say what is in stock, the items that may be shown; None: eligible.npy says it for good.
    """

    model = "retrieve"
    is_heavy = True
    score_name: ClassVar[str] = ""
    is_sparse: ClassVar[bool] = False
    serves_unknown: ClassVar[bool] = False
    checks_stock: ClassVar[bool] = False
    only_unknown: bool = False
    live: LiveEligible | None = None

    def inputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The users and the items to leave out; subclasses that read the query add it."""
        return (
            Tensor("user_row", "INT32"),
            Tensor("path_code", "INT32"),
            Tensor("recent_rows", "INT32", -1),
            Tensor("excluded_rows", "INT32", -1),
            *([Tensor(LIVE_SEEN, "INT32", -1), Tensor(LIVE_OFFSET, "INT64")] if spec.live is not None else []),
        )

    def outputs(self, spec: ChainSpec) -> tuple[Tensor, ...]:
        """The items found, and their scores."""
        return (Tensor(f"{self.name}_items", "INT32", -1), Tensor(f"{self.name}_scores", "FP32", -1))

    def files(self, spec: ChainSpec) -> tuple[str, ...]:
        """The seen items of all users; subclasses add their own files."""
        return (*SEEN_FILES, *(LiveEligible.files(spec) if spec.live_stock else ()))

    def scorer_files(self, spec: ChainSpec) -> tuple[str, ...]:
        """The files that `scorer` opens."""
        return ()

    def scorer(self, folder: Path, spec: ChainSpec) -> Scorer | None:
        """Scores of items that other sources found; None where the source has none."""
        return None

    def open(self, folder: Path, spec: ChainSpec) -> None:
        """Open `files`."""
        self._filter_seen, self._seen = spec.filter_seen, SeenItems(folder)
        self.live = LiveEligible(folder, spec) if spec.live_stock else None

    def eligible(self, folder: Path) -> NDArray[np.uint8]:
        """The items that may be shown, as a bitmap; where the stock is live, the one that is changed in place."""
        return load_array(folder / ELIGIBLE_FILE) if self.live is None else self.live.bitmap

    def stock_changed(self, rows: NDArray[np.int64]) -> None:
        """Told which items may be shown now that were not, or the other way round, before a batch.

        Args:
            rows: distinct item rows, ascending.
        """

    def find(self, user: QueriedUser, batch: Mapping[str, NDArray]) -> Found:
        """The source's items for one user, none of them blocked or ineligible.

        Args:
            user: whose items are wanted.
            batch: what `inputs` names, [B, ...].
        """
        raise NotImplementedError

    def __call__(self, batch: Mapping[str, NDArray]) -> Arrays:
        """Find items for one user at a time, so that no user's result depends on the others of a batch."""
        if self.live is not None and len(changed := self.live.refresh(int(batch[LIVE_OFFSET].max()))):
            self.stock_changed(changed)
        found = [NOTHING if user is None else self._found(user, batch) for user in self.users(batch)]
        return {
            f"{self.name}_items": pad_rows([rows for rows, _ in found], np.int32, NO_ITEM),
            f"{self.name}_scores": pad_rows([scores for _, scores in found], np.float32, 0),
        }

    def users(self, batch: Mapping[str, NDArray]) -> Iterator[QueriedUser | None]:
        """The users of a batch as the source sees them; None for one whom it is not queried for."""
        user_rows, paths = batch["user_row"][:, 0].tolist(), batch["path_code"][:, 0].tolist()
        queried = self._queried(batch)
        for place, (user_row, path) in enumerate(zip(user_rows, paths, strict=True)):
            is_queried = self.serves_unknown if path == POPULARITY else not self.only_unknown
            yield queried.of(batch, place, user_row) if is_queried else None

    def _queried(self, batch: Mapping[str, NDArray]) -> QueriedUsers:
        """The users of the batch; those that another source has asked for where it is the same batch."""
        key = [batch["user_row"], batch["recent_rows"], batch["excluded_rows"], batch.get(LIVE_SEEN)]
        known: QueriedUsers | None = getattr(_under_way, "users", None)
        if known is None or not known.are_of(key, self._seen, self._filter_seen):
            known = _under_way.users = QueriedUsers(key, self._seen, self._filter_seen)
        return known

    def _found(self, user: QueriedUser, batch: Mapping[str, NDArray]) -> Found:
        rows, scores = self.find(user, batch)
        if self.live is None or self.checks_stock:
            return rows, scores
        kept = self.live.holds(rows)
        return rows[kept], scores[kept]


def make_source(path: str, settings: Mapping[str, Any]) -> Source:
    """A source as chain.json or the merge names it, not opened.

    Args:
        path: "module:class".
        settings: of its constructor.

    Raises:
        ValueError: there is no such step, or it is no source.
    """
    step = make_step(path, settings)
    if not isinstance(step, Source):
        raise ValueError(f"the step {path} is no retrieval source")
    return step


def real(rows: NDArray) -> NDArray:
    """The rows without the padding."""
    items: NDArray = rows[rows >= 0]
    return items


def pad_rows(parts: Sequence[NDArray], dtype: Any, padding: float) -> NDArray:
    """Arrays [K] of different K as one [B, max K], padded right; never without a column, which Triton treats apart."""
    padded = np.full((len(parts), max(1, *map(len, parts))), padding, dtype)
    for row, part in zip(padded, parts, strict=True):
        row[: len(part)] = part
    return padded


def _union(rows: NDArray, more: NDArray) -> NDArray:
    """Distinct rows, ascending; `rows` are so already."""
    if not len(more):
        return rows
    together = np.concatenate([rows, more])
    together.sort()
    is_other = np.empty(len(together), bool)
    is_other[0] = True
    np.not_equal(together[1:], together[:-1], out=is_other[1:])
    union: NDArray = together[is_other]
    return union


def unmarked(rows: NDArray, blocked: NDArray, marks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of the rows are not blocked: marking a few rows for one search beats searching among them.

    Args:
        rows: item rows [K].
        blocked: item rows.
        marks: bool [N], all false, as it is again when this returns.
    """
    marks[blocked] = True
    free: NDArray[np.bool_] = ~marks[rows]
    marks[blocked] = False
    return free
