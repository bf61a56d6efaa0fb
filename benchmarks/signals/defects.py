"""Twelve defects, planted into requests, a version's files or a server's answers, and where each should be sought."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.signals.month import Month, Served, found
from benchmarks.signals.traffic import make_pool
from ensemble.profile.ask import Answers, open_chain
from operations.signals.kinds import KINDS
from runtime.ids import NO_ITEM, UNKNOWN
from runtime.request import Parsed
from workflows.core.run import Run

__all__ = ["DEFECTS", "Defect", "Outcome", "outcomes", "rewrite"]

FEW_ITEMS = 10


class Outcome(NamedTuple):
    """What the signals said of a defect.

    Attributes:
        defect: which.
        signals: out of their limits after two windows, the cause first.
    """

    defect: Defect
    signals: list[str]

    @property
    def family(self) -> str:
        """Of the first one; "" where none is out."""
        return KINDS[self.signals[0].partition(":")[0]].family if self.signals else ""


@dataclass(frozen=True)
class Defect:
    """Something that goes wrong.

    Attributes:
        name: in words.
        family: of the signals that should be named first.
        requests: changes what is asked.
        files: changes the compiled chain in a folder.
        answers: changes what the server says, beside its files.
    """

    name: str
    family: str
    requests: Callable[[Parsed], Parsed] | None = None
    files: Callable[[Path], None] | None = None
    answers: Callable[[Answers], Answers] | None = None


def outcomes(run: Run, chain: Path, month: Month, scratch: Path, num: int) -> Iterator[Outcome]:
    """Plant each defect after a healthy history, and look two windows later.

    Args:
        run: whose test events are asked for.
        chain: the compiled chain with its profile.
        month: the history.
        scratch: for the damaged copies.
        num: requests of each defect that days are drawn from.
    """
    for defect in DEFECTS:
        opened = month.served.chain
        if defect.files is not None:
            shutil.rmtree(scratch, ignore_errors=True)
            shutil.copytree(chain, scratch)
            defect.files(scratch)
            opened = open_chain(scratch)
        pool = make_pool(run, opened, num, 1, defect.requests, defect.answers)
        served = Served(opened, month.served.profile, pool, month.served.num)
        yield Outcome(defect, found(Month(served, month.random, [*month.rows]), (None, None)))
    shutil.rmtree(scratch, ignore_errors=True)


def _without_device(requests: Parsed) -> Parsed:
    context = {name: values.copy() for name, values in requests.context.items()}
    first = next(iter(context))
    context[first] = np.full(len(context[first]), None, object)
    return replace(requests, context=context)


def _other_hour(requests: Parsed) -> Parsed:
    context = dict(requests.context)
    context["hour"] = np.array([None if hour is None else (hour + 6) % 24 for hour in context["hour"]], object)
    return replace(requests, context=context)


def _other_users(requests: Parsed) -> Parsed:
    is_other = np.arange(len(requests.user_row)) % 2 == 0
    return replace(requests, user_row=np.where(is_other, UNKNOWN, requests.user_row).astype(np.int32))


def _other_items(requests: Parsed) -> Parsed:
    recent = np.where(requests.recent == NO_ITEM, NO_ITEM, UNKNOWN).astype(np.int32)
    return replace(requests, recent=recent)


def _no_history(chain: Path) -> None:
    rewrite(chain / "state/history.npy", lambda history: np.full_like(history, NO_ITEM))


def _swapped_codes(chain: Path) -> None:
    for path in sorted((chain / "encoders").glob("context.*.codes.npy"))[:1]:
        rewrite(path, lambda codes: np.roll(codes, 1))


def _lost_feature(chain: Path) -> None:
    path = next(path for path in sorted((chain / "users").glob("*age_group*.npy")))
    rewrite(path, np.zeros_like)


def _few_eligible(chain: Path) -> None:
    def few(bits: np.ndarray) -> np.ndarray:
        mask = np.unpackbits(bits, bitorder="little")
        return np.packbits(mask * (np.cumsum(mask) <= FEW_ITEMS), bitorder="little")

    rewrite(chain / "eligible.npy", few)


def _half_eligible(chain: Path) -> None:
    def half(bits: np.ndarray) -> np.ndarray:
        mask = np.unpackbits(bits, bitorder="little")
        return np.packbits(mask * (np.random.default_rng(0).random(len(mask)) < 0.5), bitorder="little")

    rewrite(chain / "eligible.npy", half)


def _doubled(answers: Answers) -> Answers:
    return answers._replace(scores=np.minimum(answers.scores * 2, 1).astype(np.float32))


def _no_numbers(answers: Answers) -> Answers:
    scores = answers.scores.copy()
    scores[::20] = np.nan
    return answers._replace(scores=scores)


def _swapped_ids(answers: Answers) -> Answers:
    order = np.random.default_rng(0).permutation(int(answers.rows.max()) + 1).astype(np.int32)
    return answers._replace(rows=np.where(answers.rows == NO_ITEM, NO_ITEM, order[answers.rows]))


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change an array of a compiled chain where it stands."""
    np.save(path, change(np.load(path, allow_pickle=False)))


# What a server says beside its files is to be sought in its operation: asking the files again tells.
DEFECTS = (
    Defect("the client sends no device", "requests", requests=_without_device),
    Defect("the client sends the hour of another time zone", "requests", requests=_other_hour),
    Defect("half of the users come with ids of another system", "requests", requests=_other_users),
    Defect("recent items come with ids of another system", "requests", requests=_other_items),
    Defect("the users' histories are lost", "features", files=_no_history),
    Defect("the codes of a context column are swapped", "features", files=_swapped_codes),
    Defect("a user feature is lost", "features", files=_lost_feature),
    Defect("the scores are doubled", "operation", answers=_doubled),
    Defect("one slate in twenty has scores that are no numbers", "operation", answers=_no_numbers),
    Defect("the stock says that ten items are left", "predictions", files=_few_eligible),
    Defect("the stock lacks half of the items", "exposure", files=_half_eligible),
    Defect("a server's item ids are swapped in memory", "operation", answers=_swapped_ids),
)
