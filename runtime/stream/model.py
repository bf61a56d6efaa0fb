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
from runtime.stream.events import Events
from runtime.stream.fields import KEY, inputs
from runtime.stream.folder import FOLDER_VARIABLE, KEY_VARIABLE
from runtime.stream.ingest import Ingest
from runtime.stream.parse import EventParser, Parsed
from runtime.stream.rejected import Rejected, rejected_lines
from runtime.stream.spec import StreamSpec

__all__ = ["TritonPythonModel"]

REFUSED = -1
OUTCOMES = {1: "new", 0: "duplicate", REFUSED: "refused"}
AGAIN = "nothing of this request is acknowledged; send it again, with the same event ids"
# Parameters that are Triton's or ours; "id" is not one of them, since its sender means `event_id`.
OF_TRITON = {
    "priority", "timeout", "sequence_id", "sequence_start", "sequence_end", "binary_data_output", KEY,
}  # fmt: skip
Arrays = dict[str, NDArray]


class TritonPythonModel:
    """What Triton's Python backend instantiates; one instance, since one process writes an EVENTS folder."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Open the folder that CASCADE_EVENTS names, and fold what is in its log and not in its state."""
        # The backend adds this module only after model.py has been imported.
        import triton_python_backend_utils as pb_utils

        self._pb: Any = pb_utils
        spec = StreamSpec.load(Path(args["model_repository"]) / args["model_version"])
        self._key = os.environ.get(KEY_VARIABLE, "")
        self._names = [tensor.name for tensor in inputs(spec)]
        self._parser = EventParser(spec)
        try:
            folder = _folder()
            self._ingest = Ingest(folder, spec)
        except OSError as error:
            raise pb_utils.TritonModelException(str(error)) from error
        self._rejected = Rejected(folder)
        self._counters = _Counters(pb_utils)
        if self._ingest.replayed:
            pb_utils.Logger.log_info(f"cascade_events: folded {self._ingest.replayed} events of the log")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Take in the events of all requests as one commit, each request answered for itself."""
        received_at = time.time_ns()
        arrays = [self._arrays(request) for request in requests]
        parsed = [self._parse(*pair, received_at) for pair in zip(requests, arrays, strict=True)]
        taken = self._take(parsed, received_at)
        return [self._answer(*each, received_at) for each in zip(parsed, arrays, taken, strict=True)]

    def finalize(self) -> None:
        """Close the log and the state."""
        self._ingest.close()

    def _arrays(self, request: Any) -> Arrays:
        tensors = ((name, self._pb.get_input_tensor_by_name(request, name)) for name in self._names)
        return {name: tensor.as_numpy() for name, tensor in tensors if tensor is not None}

    def _parse(self, request: Any, arrays: Arrays, received_at: int) -> Parsed | BadRequest:
        try:
            parameters = json.loads(request.parameters() or "{}")
            # A header keeps the letters in which it came.
            self._check_key(next((value for name, value in parameters.items() if name.lower() == KEY), None))
            _refuse_unknown(parameters, self._names)
            return self._parser.parse(arrays, received_at)
        except BadRequest as error:
            return error
        except Exception as error:  # whatever it is, the other requests must be answered
            self._pb.Logger.log_error(f"cascade_events: {type(error).__name__}: {error}")
            return BadRequest("the server could not read this request; its log says why")

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

    def _take(self, parsed: Sequence[Parsed | BadRequest], received_at: int) -> list[Any]:
        """For each request: status and offset of its good events, None, or the error that kept them out."""
        good = [p.events.take(p.good()) if isinstance(p, Parsed) else None for p in parsed]
        some = [events for events in good if events is not None and len(events)]
        if not some:
            return [None] * len(parsed)
        try:
            status, offsets = self._ingest.accept(Events.join(some), received_at)
        except Exception as error:  # a full disk, or a fault: the process goes on, and so do refusals
            self._pb.Logger.log_error(f"cascade_events: {type(error).__name__}: {error}")
            return [error if events is not None and len(events) else None for events in good]
        ends = np.cumsum([0 if events is None else len(events) for events in good]).tolist()
        starts = [0, *ends[:-1]]
        return [(status[a:b], offsets[a:b]) if b > a else None for a, b in zip(starts, ends, strict=True)]

    def _answer(self, parsed: Parsed | BadRequest, arrays: Arrays, taken: Any, received_at: int) -> Any:
        error = self._pb.TritonError
        if isinstance(parsed, BadRequest):
            return self._pb.InferenceResponse(error=error(str(parsed), error.INVALID_ARG))
        if isinstance(taken, Exception):
            why = str(taken) if isinstance(taken, OSError) else "the server's log says why"
            return self._pb.InferenceResponse(
                error=error(f"the events could not be taken in ({why}); {AGAIN}", error.UNAVAILABLE)
            )
        n = len(parsed.events)
        status, offsets = np.full(n, REFUSED, np.int32), np.full(n, -1, np.int64)
        if taken is not None:
            rows = parsed.good()
            status[rows], offsets[rows] = taken
        self._count(parsed, arrays, status, received_at)
        reasons = np.array([parsed.reasons.get(place, "").encode() for place in range(n)], object)
        columns = {"status": status, "reason": reasons, "offset": offsets}
        return self._pb.InferenceResponse([self._pb.Tensor(name, each[:, None]) for name, each in columns.items()])

    def _count(self, parsed: Parsed, arrays: Arrays, status: NDArray, received_at: int) -> None:
        self._counters.add(status, int(parsed.is_ahead[parsed.good()].sum()))
        if parsed.reasons:
            try:
                self._rejected.write(rejected_lines(arrays, parsed.reasons, received_at))
            except OSError as error:
                self._pb.Logger.log_error(f"cascade_events: refused events could not be kept ({error.strerror})")


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
            )
        ]
        by_outcome, self._ahead = self._families[0], self._families[1].Metric(labels={})
        self._outcomes = {code: by_outcome.Metric(labels={"status": name}) for code, name in OUTCOMES.items()}

    def add(self, status: NDArray, num_ahead: int) -> None:
        for code, metric in self._outcomes.items():
            if count := int((status == code).sum()):
                metric.increment(count)
        if num_ahead:
            self._ahead.increment(num_ahead)


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
