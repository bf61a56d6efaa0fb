"""The processor time of two versions for the same questions, in several pairs of fresh processes.

A process that is started anew may be a tenth faster or slower than another of the same files, by where its memory lies
and what else the machine does; questions of one pair alone would take that for a difference between the versions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from operations.replay.errors import AnswerError
from operations.replay.process import VersionProcess, started
from operations.replay.requests import Row, questions
from operations.replay.versions import Version

__all__ = ["change_interval", "timed"]

# Each batch is asked three times, and the least counts: what else the machine does only ever adds.
NUM_PAIRS, USERS_A_PAIR, NUM_TIMES = 5, 100, 3
# Student's t at 97.5% for 1, 2, ... degrees of freedom.
T_VALUES = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)
Question = Mapping[str, Any]


def timed(
    logged: Version, candidate: Version, rows: Sequence[Row], translated: Callable[[Question], Question]
) -> Iterator[tuple[float, float, int]]:
    """Seconds of the processor that each takes, and for how many users, a pair of processes each.

    Args:
        logged: the version that answered.
        candidate: the other one.
        rows: users of requests.
        translated: a question in the candidate's rows.
    """
    batches: list[tuple[int, Question]] = []
    for batch, question in questions(rows, drawn=False):
        if sum(number for number, _ in batches) >= USERS_A_PAIR:
            break
        batches.append((len(batch), question))
    for _ in range(NUM_PAIRS):
        with started(logged) as first, started(candidate) as second:
            asked = [_ask(first, second, batch, translated) for batch in batches]
        whole = [spent for spent in asked if spent is not None]
        if whole:
            yield sum(s[0] for s in whole), sum(s[1] for s in whole), sum(s[2] for s in whole)


def _ask(
    first: VersionProcess,
    second: VersionProcess,
    batch: tuple[int, Question],
    translated: Callable[[Question], Question],
) -> tuple[float, float, int] | None:
    """The least that each takes, in turn; None where one raises."""
    sides = ((first, batch[1]), (second, translated(batch[1])))
    try:
        spent = [[_spent(process, question) for process, question in sides] for _ in range(NUM_TIMES)]
    except AnswerError:
        return None
    before, after = (min(times) for times in zip(*spent, strict=True))
    return before, after, batch[0]


def _spent(process: VersionProcess, question: Question) -> float:
    before = process.cpu_s
    process.ask(question)
    return process.cpu_s - before


def change_interval(spent: Sequence[tuple[float, float, int]]) -> tuple[float | None, float | None]:
    """The 95% interval of the candidate's relative change; none of fewer than three pairs."""
    ratios = [np.log(after / before) for before, after, _ in spent if before > 0 and after > 0]
    if len(ratios) < 3:
        return None, None
    away = T_VALUES[min(len(ratios) - 1, len(T_VALUES)) - 1] * float(np.std(ratios, ddof=1)) / len(ratios) ** 0.5
    mean = float(np.mean(ratios))
    return float(np.expm1(mean - away)), float(np.expm1(mean + away))
