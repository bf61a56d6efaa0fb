"""A logged request explained: the version that answered it is asked what it was asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from operations.folder import held
from operations.replay.errors import NotReplayableError
from operations.replay.replay import chain_of, version_of
from operations.replay.requests import Row, named, questions
from operations.replay.versions import Version
from operations.replay.worker import parsed
from operations.why.answer import Answer
from operations.why.explain import Explainer
from operations.why.question import Question, row_of
from operations.why.way import EXCLUDED
from runtime.stream.live import at_instant
from workflows.core.errors import RequestError

__all__ = ["explain_logged"]


def explain_logged(
    folder: Path, request_id: str, item: str, *, user: int | None = None, target: Path | None = None
) -> Answer:
    """Say why an item was in a slate that was answered, or why not.

    Args:
        folder: MON.
        request_id: of the request; of one that came several times the first is meant.
        item: raw id.
        user: the place of the user in the request, from 1 on; None: its only one.
        target: a run directory or a model repository that stands in for the one that answered.

    Raises:
        NotReplayableError: the request, or the version that answered it, is not there any more, or its answer rests on
            what was not logged.
        UnknownItem: that version lacks the item.
        RequestError: the request is of several users, or of fewer.
        ArtefactError: MON or the version cannot be read, or is altered.
    """
    row, version = _found(folder, request_id, user, target)
    explainer = Explainer(version.folder, version=version)
    ((_, asked),) = questions([row])
    question = Question(row_of(item, explainer.nodes.spec, explainer.ids), parsed(asked, explainer.nodes.spec))
    instant = row.values.get("live_at")
    with at_instant(row.values["at"] if instant is None else instant):
        answer = explainer.answer(question, item=item, user=None)
    return msgspec.structs.replace(answer, notes=[*_notes(row, question.row, answer), *answer.notes])


def _found(folder: Path, request_id: str, user: int | None, target: Path | None) -> tuple[Row, Version]:
    with held(folder, "read for an explanation"):
        rows = named(folder, request_id)
        first = min(row.values["attempt"] for row in rows)
        row = _of_user([row for row in rows if row.values["attempt"] == first], request_id, user)
        if row.why_not:
            raise NotReplayableError(f"request {request_id} cannot be asked again: {row.why_not}")
        chain = chain_of(folder, row.values["chain_key"])
    version = version_of(chain, row.values["layout"], row.values["model_version"], run=target)
    if version.chain_key != row.values["chain_key"]:
        raise NotReplayableError(
            f"{target} does not have version {row.values['model_version']}, which answered request {request_id}; give "
            "a copy of its repository, or none"
        )
    return row, version


def _of_user(rows: Sequence[Row], request_id: str, user: int | None) -> Row:
    by_place = sorted(rows, key=lambda row: row.values["position"])
    if user is None and len(by_place) > 1:
        raise RequestError(f"request {request_id} asked for {len(by_place)} users; say which with --user 1 and so on")
    if not 1 <= (user or 1) <= len(by_place):
        raise RequestError(f"--user {user}: request {request_id} asked for {len(by_place)} users, counted from 1 on")
    return by_place[(user or 1) - 1]


def _notes(row: Row, item: int, answer: Answer) -> list[str]:
    values = row.values
    at = datetime.fromtimestamp(values["at"] // 10**9, timezone.utc).isoformat()
    notes = [f"request {values['request_id']}, answered by version {values['model_version']} at {at}"]
    if answer.outcome.lost_at == EXCLUDED:
        notes.append("a log keeps what a request excluded and what was blocked then in one list")
    shown = list(values["item_rows"])
    was = shown.index(item) + 1 if item in shown else None
    if was != answer.outcome.place:
        before = "was not shown" if was is None else f"was at place {was}"
        notes.append(
            f"in the answer of then the item {before}: this release answers otherwise, `cascade replay` says how"
        )
    return notes
