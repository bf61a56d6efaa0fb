"""Logged requests put to a run: what it would have chosen from, and what it thinks of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from operations.decisions.mon import name_of
from operations.replay.process import started
from operations.replay.replay import chain_of, grouped
from operations.replay.requests import Row, questions
from operations.replay.translate import Rows
from operations.replay.versions import find_given, find_logged
from workflows.core import console

__all__ = ["choices_of_run"]


def choices_of_run(folder: Path, rows: Sequence[Row], run: Path) -> pa.Table:
    """The choices of a run at logged requests, as `workflows.decisions.choices` reads them.

    Args:
        folder: MON.
        rows: of it.
        run: run directory or model repository.

    Raises:
        NotReplayableError: the version that answered is gone, whose rows the requests name.
        ArtefactError: a version cannot be opened, is altered, or is of a release that draws no slates.
    """
    found: dict[str, list] = {name: [] for name in ("request_id", "candidate_ids", "candidate_scores", "temperature")}
    with console.progress("evaluate-policy", len(rows), "requests") as bar:
        for (key, layout, number), members in grouped(rows).items():
            logged = find_logged(Path(chain_of(folder, key)["repositories"][layout]), key, number)
            asked = find_given(run, layout, "", None)
            same = logged.chain_key == asked.chain_key
            there = Rows.same() if same else Rows(*((logged.ids(name), asked.ids(name)) for name in ("users", "items")))
            ids = np.asarray(asked.ids("items"))
            with started(asked) as process:
                for batch, question in questions(members, drawn=False):
                    answer = process.ask({**there.question(question), "choices": True})
                    for place, row in enumerate(batch):
                        _note(found, name_of(row), ids, {name: values[place] for name, values in answer.items()})
                    bar.advance(bar.task_ids[0], len(batch))
    return pa.table(found)


def _note(found: dict[str, list], name: str, ids: np.ndarray, answer: dict) -> None:
    rows = np.array(answer["candidate_rows"], np.int64)
    scores = np.array(answer["candidate_scores"], np.int32).view(np.float32)
    raw = ids[rows[rows >= 0]].tolist()
    found["request_id"].append(name)
    found["candidate_ids"].append([item.decode() if isinstance(item, bytes) else item for item in raw])
    found["candidate_scores"].append(scores[rows >= 0].astype(float).tolist())
    found["temperature"].append(answer["temperature"])
