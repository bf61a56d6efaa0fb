"""Logged requests put to a candidate, and to the version that answered them, for what both take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from operations.folder import held
from operations.replay.errors import AnswerError, NotReplayableError
from operations.replay.process import VersionProcess, started
from operations.replay.replay import chain_of, grouped
from operations.replay.requests import Row, latest, questions
from operations.replay.translate import Rows
from operations.replay.versions import Version, find_given, find_logged
from operations.shadow.timing import timed
from workflows.core import console
from workflows.core.errors import CascadeError

__all__ = ["Answered", "Slate", "ask_candidate"]

# Of two draws nobody can say what the candidate changed.
DRAWN = "users whose slate was drawn at random"


@dataclass(frozen=True)
class Slate:
    """What one user of a request was given, or would be.

    Attributes:
        items: raw ids, best first.
        scores: float32.
        path: what it rests on.
        wanted: how many were asked for.
    """

    items: NDArray
    scores: NDArray[np.float32]
    path: str
    wanted: int


@dataclass
class Answered:
    """What came of it.

    Attributes:
        candidate: the version that was asked.
        requests: how many.
        pairs: of each user, what was answered and what the candidate answers.
        errors: request -> what the candidate raised.
        left_out: why -> requests that could not be asked again.
        spent: seconds of the processor that the version that answered takes, and the candidate, and the number of
            users, of each pair of processes that were timed.
    """

    candidate: str = ""
    requests: int = 0
    pairs: list[tuple[Slate, Slate]] = field(default_factory=list)
    errors: dict[tuple[str, int], str] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    spent: list[tuple[float, float, int]] = field(default_factory=list)


def ask_candidate(folder: Path, run: Path, last: int) -> Answered:
    """Ask the latest requests of MON again.

    Args:
        folder: MON.
        run: run directory or model repository of the candidate.
        last: how many requests.

    Raises:
        NotReplayableError: none can be asked again, or the version that answered is gone, whose rows they name.
        ArtefactError: MON or a version cannot be read, or is altered.
        CascadeError: MON is of another product.
    """
    with held(folder, "read for a shadow"):
        rows = latest(folder, last)
        chains = {row.values["chain_key"]: chain_of(folder, row.values["chain_key"]) for row in rows}
    asked = Answered()
    for why in {row.request: row.why_not for row in rows if row.why_not}.values():
        asked.left_out[why] = asked.left_out.get(why, 0) + 1
    if drawn := len({row.request for row in rows if not row.why_not and row.values.get("explored")}):
        asked.left_out[DRAWN] = drawn
    kept = [row for row in rows if not row.why_not and not row.values.get("explored")]
    groups = grouped(kept)
    if not groups:
        raise NotReplayableError(f"nothing can be asked again: {next(iter(asked.left_out))} ({len(rows)} rows)")
    for (key, layout, number), members in groups.items():
        repository = Path(chains[key]["repositories"][layout])
        logged, candidate = find_logged(repository, key, number), find_given(run, layout, "", None)
        _check_product(folder, logged, candidate)
        asked.candidate = f"version {candidate.number} of {run}"
        asked.requests += len({row.request for row in members})
        _ask(asked, logged, candidate, members)
    return asked


def _check_product(folder: Path, logged: Version, candidate: Version) -> None:
    ids = [version.ids("items") for version in (logged, candidate)]
    if ids[0].dtype.kind != ids[1].dtype.kind or not np.isin(ids[1], ids[0]).any():
        raise CascadeError(
            f"{folder} has requests that were answered from {len(ids[0]):,} items, none of which {candidate.folder} "
            "knows: it is of another product; give the folder that `cascade log collect` made of this product's log"
        )


def _ask(asked: Answered, logged: Version, candidate: Version, rows: Sequence[Row]) -> None:
    same = logged.chain_key == candidate.chain_key
    there = Rows.same() if same else Rows(*((logged.ids(name), candidate.ids(name)) for name in ("users", "items")))
    before, after = np.asarray(logged.ids("items")), np.asarray(candidate.ids("items"))
    with started(candidate) as process, console.progress("shadow", len(rows), "users") as bar:
        for batch, question in questions(rows, drawn=False):
            answers = _answers(process, batch, there.question(question), there)
            for row, answer in zip(batch, answers, strict=True):
                if isinstance(answer, str):
                    asked.errors.setdefault(row.request, answer)
                else:
                    asked.pairs.append((_logged(row, before), _slate(row, answer, after)))
            bar.advance(bar.task_ids[0], len(batch))
    asked.spent += timed(logged, candidate, rows, there.question)


def _answers(
    process: VersionProcess, batch: Sequence[Row], question: Mapping[str, Any], there: Rows
) -> list[dict[str, Any] | str]:
    """The answer of each row, or what was raised at it."""
    try:
        answer = process.ask(question)
        return [{name: values[place] for name, values in answer.items()} for place in range(len(batch))]
    except AnswerError as error:
        if len(batch) == 1:
            return [str(error)]
    found: list[dict[str, Any] | str] = []
    for row in batch:
        for part, alone in questions([row], drawn=False):
            found += _answers(process, part, there.question(alone), there)
    return found


def _logged(row: Row, ids: NDArray) -> Slate:
    values = row.values
    rows = np.array(values["item_rows"], np.int64)
    return Slate(ids[rows], np.array(values["scores"], np.float32), values["path"], values["slate_size"])


def _slate(row: Row, answer: Mapping[str, Any], ids: NDArray) -> Slate:
    count = answer["num_items"]
    rows, bits = (np.array(answer[name][:count], np.int32) for name in ("item_rows", "scores"))
    return Slate(ids[rows], bits.view(np.float32), answer["path"], row.values["slate_size"])
