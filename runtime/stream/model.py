"""The Triton model `cascade_events`: all events that wait are one commit, and each request gets its own answer."""

from __future__ import annotations

import hmac
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import BadRequest
from runtime.stream.answer import REFUSED, UNREADABLE, Answer, Arrays, Group, answers_of, read_requests
from runtime.stream.events import ITEM
from runtime.stream.fields import KEY, inputs
from runtime.stream.folder import FOLDER_VARIABLE, KEY_VARIABLE, make_folder
from runtime.stream.ingest import Ingest
from runtime.stream.parse import EventParser
from runtime.stream.rejected import Rejected, rejected_lines
from runtime.stream.spec import StreamSpec
from runtime.stream.topic_url import SOURCE_VARIABLE, read_topic_url
from runtime.stream.topic_writer import TopicWriter
from runtime.stream.windows import oldest_counted

__all__ = ["TritonPythonModel"]

OUTCOMES = {1: "new", 0: "duplicate", REFUSED: "refused"}
AGAIN = "nothing of this request is acknowledged; send it again, with the same event ids"
# Parameters that are Triton's or ours; "id" is not one of them, since its sender means `event_id`.
OF_TRITON = {
    "priority", "timeout", "sequence_id", "sequence_start", "sequence_end", "binary_data_output", KEY,
}  # fmt: skip


class TritonPythonModel:
    """What Triton's Python backend instantiates; one instance, since one process writes an EVENTS folder."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the folder that CASCADE_EVENTS names, and fold what is in its log and not in its state; or a topic."""
        # The backend adds this module only after model.py has been imported.
        import triton_python_backend_utils as pb_utils

        self._pb: Any = pb_utils
        spec = StreamSpec.load(Path(args["model_repository"]) / args["model_version"])
        self._key = os.environ.get(KEY_VARIABLE, "")
        self._names = [tensor.name for tensor in inputs(spec)]
        self._parser = EventParser(spec)
        self._windows = (*spec.user_windows, *spec.item_windows)
        try:
            folder = _folder()
            self._ingest = _taking_in(folder, spec)
        except OSError as error:
            raise pb_utils.TritonModelException(str(error)) from error
        self._rejected = Rejected(folder)
        self._counters = _Counters(pb_utils)
        if isinstance(self._ingest, Ingest):
            self._counters.add(np.full(self._ingest.set_aside.num_met, REFUSED))
        if isinstance(self._ingest, Ingest) and self._ingest.replayed:
            pb_utils.Logger.log_info(f"cascade_events: folded {self._ingest.replayed} events of the log")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Take in the events of all requests as one commit, each request answered for itself."""
        received_at = time.time_ns()
        read = [self._read(request) for request in requests]
        groups, refused = read_requests(self._parser, read, received_at, self._log_error)
        answers, status = answers_of(groups, lambda events: self._ingest.accept(events, received_at), self._log_error)
        self._keep(groups, status, received_at)
        return [self._response(refused.get(place) or answers[place]) for place in range(len(requests))]

    def finalize(self) -> None:
        """Close the log and the state, or the topic."""
        self._ingest.close()

    def _read(self, request: Any) -> Arrays | BadRequest:
        """A request's columns, or why its sender is refused."""
        try:
            parameters = json.loads(request.parameters() or "{}")
            # A header keeps the letters in which it came.
            self._check_key(next((value for name, value in parameters.items() if name.lower() == KEY), None))
            _refuse_unknown(parameters, self._names)
            return {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        except BadRequest as error:
            return error
        except Exception as error:  # whatever it is, the other requests must be answered
            self._log_error(f"{type(error).__name__}: {error}")
            return BadRequest(UNREADABLE)

    def _check_key(self, given: object) -> None:
        """Whoever knows no key may not write.

        Raises:
            BadRequest: another key than the server's, or none.
        """
        if self._key and not hmac.compare_digest(str(given or "").encode(), self._key.encode()):
            raise BadRequest(
                f"this server takes events from those who know its key alone: give it as the parameter {KEY} of the "
                f"request (with `generate` in the body, with `infer` also as a header)"
            )

    def _response(self, answer: Answer) -> Any:
        error = self._pb.TritonError
        if isinstance(answer, BadRequest):
            return self._pb.InferenceResponse(error=error(str(answer), error.INVALID_ARG))
        if isinstance(answer, Exception):
            why = str(answer) if isinstance(answer, OSError) else "the server's log says why"
            return self._pb.InferenceResponse(
                error=error(f"the events could not be taken in ({why}); {AGAIN}", error.UNAVAILABLE)
            )
        tensors = [self._pb.Tensor(name, np.ascontiguousarray(column)) for name, column in answer.items()]
        return self._pb.InferenceResponse(tensors)

    def _keep(self, groups: Sequence[Group], status: NDArray[np.int32], received_at: int) -> None:
        """Count events, and keep those that are refused with their reasons."""
        oldest, num_ahead, num_late = oldest_counted(self._windows, received_at), 0, 0
        for group in groups:
            events, good = group.parsed.events, group.parsed.good()
            num_ahead += int(group.parsed.is_ahead[good].sum())
            num_late += int(((events.at[good] < oldest) & (events.kind[good] < ITEM)).sum())
        self._counters.add(status, num_ahead, num_late)
        lines = [line for group in groups for line in rejected_lines(group.arrays, group.parsed.reasons, received_at)]
        if lines:
            try:
                self._rejected.write(lines)
            except OSError as error:
                self._log_error(f"refused events could not be kept ({error.strerror})")

    def _log_error(self, what: str) -> None:
        self._pb.Logger.log_error(f"cascade_events: {what}")


class _Counters:
    """Custom metrics of Triton's metrics page."""

    def __init__(self, pb_utils: Any) -> None:
        counter = pb_utils.MetricFamily.COUNTER
        # The families live as long as their metrics.
        self._families = [
            pb_utils.MetricFamily(name=f"cascade_events{suffix}_total", description=says, kind=counter)
            for suffix, says in (
                ("", "Events by what became of them"),
                ("_ahead", "Events from further ahead than max_future_s, set to their arrival"),
                ("_too_late", "Events that were older than every window when they arrived, so that none counts them"),
            )
        ]
        by_outcome, (self._ahead, self._late) = self._families[0], (f.Metric(labels={}) for f in self._families[1:])
        self._outcomes = {code: by_outcome.Metric(labels={"status": name}) for code, name in OUTCOMES.items()}

    def add(self, status: NDArray, num_ahead: int = 0, num_late: int = 0) -> None:
        for code, metric in self._outcomes.items():
            if count := int((status == code).sum()):
                metric.increment(count)
        for metric, count in ((self._ahead, num_ahead), (self._late, num_late)):
            if count:
                metric.increment(count)


def _taking_in(folder: Path, spec: StreamSpec) -> Ingest | TopicWriter:
    """The topic that CASCADE_SOURCE names, else the log of the folder.

    Raises:
        OSError: it cannot be used.
    """
    if source := os.environ.get(SOURCE_VARIABLE):
        make_folder(folder)
        return TopicWriter(read_topic_url(source), spec)
    return Ingest(folder, spec)


def _folder() -> Path:
    """EVENTS.

    Raises:
        OSError: the variable is not set.
    """
    if not (folder := os.environ.get(FOLDER_VARIABLE)):
        raise OSError(
            f"no folder for live events is given: start the server with `cascade serve`, or set {FOLDER_VARIABLE}"
        )
    return Path(folder)


def _refuse_unknown(parameters: Mapping[str, Any], known: Sequence[str]) -> None:
    """With `generate`, what is called like no input arrives as a parameter: a name that was mistyped.

    Raises:
        BadRequest: there is one.
    """
    for name in parameters:
        if name.lower() not in OF_TRITON and not name.startswith("triton_"):
            raise BadRequest(f"unknown field {name!r:.100}; the fields are {', '.join(known)}")
