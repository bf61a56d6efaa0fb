"""A version asked the questions that the candidate was measured by, in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ensemble.evaluation.queries import Queries
from ensemble.request_columns import parsed_column
from operations.gate.candidate import Candidate
from operations.replay.process import VersionProcess
from operations.replay.versions import Version
from runtime.ids import NO_ITEM, UNKNOWN
from runtime.spec import ChainSpec, Tensor
from workflows.core.errors import CascadeError

__all__ = ["Answers", "answers"]

TOGETHER = 32


class Answers(NamedTuple):
    """Slates of P users.

    Attributes:
        rows: the candidate's item rows, int32 [P, K], UNKNOWN for an item that it has not and -1 behind the last.
        scores: float32 [P, K].
        paths: [P], what each rests on.
    """

    rows: NDArray[np.int32]
    scores: NDArray[np.float32]
    paths: NDArray


def answers(
    process: VersionProcess,
    served: Version,
    spec: ChainSpec,
    candidate: Candidate,
    part: NDArray[np.int64],
    size: int,
    *,
    told: Sequence[Sequence[int]] = (),
    together: int = TOGETHER,
) -> Answers:
    """What a version answers to some of the candidate's queries.

    Args:
        process: of the version.
        served: the version, whose rows the process speaks of.
        spec: of its chain.
        candidate: whose queries they are.
        part: their numbers [P].
        size: K of the slates.
        told: the candidate's item rows that each of these users has had since; none.
        together: users a question.

    Raises:
        CascadeError: it reads a context column that the candidate's data lack.
    """
    queries, rows = candidate.queries, np.full((len(part), size), NO_ITEM, np.int32)
    scores, paths = np.zeros(rows.shape, np.float32), np.empty(len(part), object)
    users = _places(candidate.user_ids[queries.user_rows[part]], served.ids("users"))
    there, back = (
        _places(candidate.item_ids, served.ids("items")),
        _places(served.ids("items"), candidate.item_ids),
    )
    recent = [there[np.array(items, np.int64)].tolist() for items in told] or [[] for _ in part]
    for start in range(0, len(part), together):
        some = slice(start, min(start + together, len(part)))
        question = _question(users[some], recent[some], queries, part[some], spec, size)
        answer = process.ask(question)
        for place, count in enumerate(answer["num_items"]):
            given, bits = (np.array(answer[name][place][:count], np.int32) for name in ("item_rows", "scores"))
            rows[start + place, :count] = back[given]
            scores[start + place, :count] = bits.view(np.float32)
        paths[some] = answer["path"]
    return Answers(rows, scores, paths)


def _question(
    users: NDArray[np.int64],
    recent: Sequence[list[int]],
    queries: Queries,
    part: NDArray[np.int64],
    spec: ChainSpec,
    size: int,
) -> dict[str, Any]:
    """As `operations.replay.worker` reads it."""
    none: list[list[int]] = [[] for _ in part]
    longest = max(map(len, recent))
    question = {
        "user_row": users.tolist(),
        "recent": [[*items, *[NO_ITEM] * (longest - len(items))] for items in recent],
        "excluded": none,
        "slate_size": [size] * len(part),
        "context": {column.name: _context(column, queries, part) for column in spec.context_columns},
    }
    if spec.live is not None:
        question |= {"live_at": int(queries.at.min()), "live_recent": none}
    return question


def _context(column: Tensor, queries: Queries, part: NDArray[np.int64]) -> list[Any]:
    if column.name not in queries.context:
        if column.optional:
            return [None] * len(part)
        raise CascadeError(
            f"the served version needs the context column '{column.name}', which the candidate's data lack: the two "
            "cannot be compared; name it in data.context"
        )
    values = parsed_column(column, pa.chunked_array([queries.context[column.name].take(pa.array(part))])).tolist()
    known = [None if value is None or value != value else value for value in values]
    return [value.decode() if isinstance(value, bytes) else value for value in known]


def _places(ids: NDArray, others: NDArray) -> NDArray[np.int64]:
    """For each id its place among the others, ascending; UNKNOWN where it is not there."""
    if not len(others) or ids.dtype.kind != others.dtype.kind:
        return np.full(len(ids), UNKNOWN, np.int64)
    at = np.minimum(np.searchsorted(others, ids), len(others) - 1)
    return np.where(others[at] == ids, at, UNKNOWN)
