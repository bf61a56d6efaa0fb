"""The candidate's export and the served version, asked the same: what each gives the candidate's test users."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.dataset.features import load_state
from operations.gate.asking import Answers, answers
from operations.gate.candidate import Candidate
from operations.gate.exported import Exported
from operations.replay.process import started
from workflows.core.errors import CascadeError

__all__ = ["MOST_ASKED", "BothAnswers", "ask_both", "num_differing"]

# Users who are asked for, and of the candidate's answers those that are asked for a second time.
MOST_ASKED, NUM_TWICE = 500, 64


class BothAnswers(NamedTuple):
    """What came of it.

    Attributes:
        part: the numbers [P] of the candidate's queries, spread over all.
        candidate: slates of these users, by the candidate's rows.
        served: the served version's of the same users; a sentence where it cannot be asked.
        reported: int32 [P, K], the slates that the candidate's report was made of.
        seen: bool [P, K], which items of the candidate's slates their user has had.
        size: items that were asked for.
    """

    part: NDArray[np.int64]
    candidate: Answers
    served: Answers | str
    reported: NDArray[np.int32]
    seen: NDArray[np.bool_]
    size: int


def ask_both(candidate: Candidate, ours: Exported, theirs: Exported) -> BothAnswers | None:
    """Ask for users who are spread over the test users; None where there is none.

    Raises:
        ArtefactError: a file of either is altered, or the candidate cannot be asked.
    """
    num = len(candidate.queries)
    if not num:
        return None
    part = np.unique(np.linspace(0, num - 1, min(MOST_ASKED, num)).astype(np.int64))
    size = min(candidate.slates.shape[1], *(exported.spec.slate_size for exported in (ours, theirs)))
    own = _answers(candidate, ours, part, size)
    seen = _seen(candidate, part, own.rows)
    theirs.version.check()
    served: Answers | str
    try:
        served = _answers(candidate, theirs, part, size)
    except CascadeError as error:
        served = str(error)
    return BothAnswers(part, own, served, candidate.slates[part, :size], seen, size)


def num_differing(candidate: Candidate, ours: Exported, asked: BothAnswers | None) -> int | None:
    """Users whose answer is another one where they are asked for alone, in another process; None: none was."""
    if asked is None:
        return None
    few = slice(NUM_TWICE)
    again = _answers(candidate, ours, asked.part[few], asked.size, together=1)
    first = asked.candidate
    same = (first.rows[few] == again.rows).all(axis=1) & (first.scores[few] == again.scores).all(axis=1)
    return int((~same).sum())


def _answers(
    candidate: Candidate, exported: Exported, part: NDArray[np.int64], size: int, together: int = 32
) -> Answers:
    with started(exported.version) as process:
        return answers(process, exported.version, exported.spec, candidate, part, size, together=together)


def _seen(candidate: Candidate, part: NDArray[np.int64], rows: NDArray[np.int32]) -> NDArray[np.bool_]:
    """By the run's own data, whatever the export's files say."""
    state = load_state(candidate.run, "serve")
    users = candidate.queries.user_rows[part]
    return np.array([np.isin(slate, state.seen(int(user))) for user, slate in zip(users, rows, strict=True)])
