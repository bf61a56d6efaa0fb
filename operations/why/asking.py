"""One question put to a chain again and again, each time with something changed, and what became of the item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from operations.why.live import AskedOnce, Repeated
from operations.why.nodes import Nodes, changed
from operations.why.overlay import put_in_stock
from operations.why.question import Question, removing, repeated, without_items
from operations.why.way import Way
from runtime.request import Parsed
from runtime.spec import LIVE_OFFSET, ChainSpec
from runtime.step import Arrays
from runtime.steps.features import EncodeRequest
from runtime.stream.recent import LiveRecent

__all__ = ["NOTHING", "Asking", "Changed", "Outcome", "as_candidate", "stored_seen", "users_without"]

NOTHING = np.zeros(0, np.int64)


class Outcome(msgspec.Struct, frozen=True):
    """What became of the item.

    Attributes:
        lost_at: see `operations.why.way`; empty where it is shown.
        place: in the slate, from 1 on.
        rank: among the candidates, by what orders them.
        score: by which it is ranked.
        merged_score: that it has, or would have, among what the sources found.
    """

    lost_at: str
    place: int | None
    rank: int | None
    score: float | None
    merged_score: float | None

    @classmethod
    def of(cls, way: Way) -> Outcome:
        """Of a way, which must not be looked at when its files are gone."""
        ordered = way.ordered
        merged = way.scored[0] if way.is_ranked else None
        return cls(way.lost_at, way.place, ordered and ordered.rank, ordered and ordered.score, merged)


@dataclass(frozen=True)
class Changed:
    """What is changed.

    Attributes:
        files: arrays of the chain by their file.
        spec: its sizes; None: as they are.
        in_stock: rows that events may not take out of stock.
        parsed: the request; None: as it is.
    """

    files: Mapping[str, NDArray] = field(default_factory=dict)
    spec: ChainSpec | None = None
    in_stock: NDArray = field(default_factory=lambda: NOTHING)
    parsed: Parsed | None = None


class Asking:
    """A question and the chain that it is put to.

    Args:
        nodes: of the chain.
        question: the question.

    Attributes:
        way: of the item, as it is served.
        live: what live events add; None where the chain has no live state.
    """

    def __init__(self, nodes: Nodes, question: Question) -> None:
        self.nodes, self.question = nodes, question
        first = nodes.opened[0].step
        once = AskedOnce(first.live) if isinstance(first, EncodeRequest) and first.live is not None else None
        nodes.asking(once)
        self.way = Way(nodes, nodes.run(question.parsed), 0, question.row)
        self.live: LiveRecent | None = once.of(question.parsed) if once is not None else None

    @property
    def arrays(self) -> Arrays:
        """Between the steps of the answer as it is served."""
        return self.way.arrays

    @cached_property
    def stored_seen(self) -> NDArray:
        """The item rows that the export knows the user to have interacted with."""
        return stored_seen(self.nodes.folder, int(self.question.parsed.user_row[0]))

    def outcome(self, change: Changed) -> Outcome:
        """What becomes of the item where something is changed."""
        return self._outcomes(change, change.parsed or self.question.parsed, [NOTHING])[0]

    def outcomes_without(self, removed: Sequence[NDArray], change: Changed | None = None) -> list[Outcome]:
        """What becomes of the item had the user not interacted with some items.

        Args:
            removed: item rows, one array an outcome.
            change: what else is changed.
        """
        change = change or Changed()
        parsed, count = change.parsed or self.question.parsed, len(removed)
        row = int(parsed.user_row[0])
        many = repeated(parsed, count, np.arange(count) if row >= 0 else parsed.user_row.repeat(count))
        files = {**change.files, **(users_without(self.nodes.folder, row, removed) if row >= 0 else {})}
        return self._outcomes(replace(change, files=files), without_items(many, removed), removed)

    def _outcomes(self, change: Changed, parsed: Parsed, removed: Sequence[NDArray]) -> list[Outcome]:
        with changed(self.nodes, change.files, change.spec) as nodes:
            if self.live is not None:
                nodes.asking(Repeated(self.live, removed))
            if len(change.in_stock) and LIVE_OFFSET in self.arrays:
                sources = [nodes.source(place) for place in nodes.places.sources]
                put_in_stock(sources, change.in_stock, int(self.arrays[LIVE_OFFSET].max()))
            arrays = nodes.run(parsed)
            return [Outcome.of(Way(nodes, arrays, user, self.question.row)) for user in range(len(removed))]


def as_candidate(way: Way) -> Outcome:
    """What became of the item were it a candidate, in the place of the last one; of a user who is ranked."""
    merge = way.nodes.places.merge
    assert merge is not None
    gives, (merged, by_source) = way.nodes.plan[merge].gives, way.scored
    arrays = dict(way.arrays)
    place = min(len(way.candidates()), way.nodes.spec.num_candidates - 1)
    names = {source.score_name: source.name for source in map(way.nodes.source, way.nodes.places.sources)}
    for name, array in gives.items():
        arrays[array] = arrays[array].copy()
        of_item = {"candidates": way.row, "retrieval_score": merged}.get(name, by_source.get(names.get(name, ""), 0.0))
        arrays[array][way.user, place] = of_item
    return Outcome.of(Way(way.nodes, way.nodes.run_from(merge + 1, arrays), way.user, way.row))


def stored_seen(folder: Path, row: int) -> NDArray:
    """The item rows that a chain's files know a user row to have interacted with; none for an unknown user."""
    state = folder / "state"
    if row < 0 or not (state / "seen_indptr.npy").is_file():
        return NOTHING
    start, stop = np.load(state / "seen_indptr.npy", mmap_mode="r")[row : row + 2].tolist()
    return np.array(np.load(state / "seen_rows.npy", mmap_mode="r")[start:stop])


def users_without(folder: Path, row: int, removed: Sequence[NDArray]) -> dict[str, NDArray]:
    """The files of a chain's users, each a version of one user who has not interacted with some items.

    Args:
        folder: the compiled chain.
        row: of the user.
        removed: item rows, one array a version.
    """
    files = {}
    for path in sorted((folder / "users").glob("*.npy")):
        files[f"users/{path.name}"] = _rows(np.load(path, mmap_mode="r"), row).repeat(len(removed), axis=0)
    state = folder / "state"
    if (state / "history.npy").is_file():
        stored = _rows(np.load(state / "history.npy", mmap_mode="r"), row).repeat(len(removed), axis=0)
        files["state/history.npy"] = _packed(removing(stored, removed))
    if (state / "seen_indptr.npy").is_file():
        seen = stored_seen(folder, row)
        kept = [seen[~np.isin(seen, rows)] for rows in removed]
        files["state/seen_indptr.npy"] = np.cumsum([0, *map(len, kept)]).astype(np.int64)
        files["state/seen_rows.npy"] = np.concatenate(kept)
    return files


def _rows(values: NDArray, row: int) -> NDArray:
    """One row of an array, as [1, ...] in memory."""
    found: NDArray = np.array(values[row : row + 1])
    return found


def _packed(rows: NDArray) -> NDArray:
    """[V, L] with the padding at the end of each row."""
    packed = np.full_like(rows, -1)
    for out, row in zip(packed, rows, strict=True):
        kept = row[row >= 0]
        out[: len(kept)] = kept
    return packed
