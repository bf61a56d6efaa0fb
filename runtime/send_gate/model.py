"""The Triton model `cascade_gate`: whether a notification is worth sending, for each candidate of a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import BadRequest, ServerFault
from runtime.send_gate.spec import GateSpec

__all__ = ["TritonPythonModel"]


class TritonPythonModel:
    """What Triton's Python backend instantiates. It keeps nothing between two requests."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Read the learnt gate."""
        # The backend adds this module only after model.py has been imported.
        import triton_python_backend_utils as pb_utils

        self._pb: Any = pb_utils
        self._spec = GateSpec.load(Path(args["model_repository"]) / args["model_version"])

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request for itself: a bad one costs nobody else their answer."""
        return [self._response(request) for request in requests]

    def _response(self, request: Any) -> Any:
        error = self._pb.TritonError
        try:
            answer = self._spec.answer({tensor.name(): tensor.as_numpy() for tensor in request.inputs()})
        except BadRequest as refused:
            return self._pb.InferenceResponse(error=error(str(refused), error.INVALID_ARG))
        except Exception as fault:  # whatever it is, the other requests must be answered
            self._pb.Logger.log_error(f"cascade_gate: {type(fault).__name__}: {fault}")
            return self._pb.InferenceResponse(error=error(str(ServerFault()), error.INTERNAL))
        tensors = [self._pb.Tensor(name, np.ascontiguousarray(column)) for name, column in answer.items()]
        return self._pb.InferenceResponse(tensors)
