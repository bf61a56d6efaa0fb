"""The model that Triton's Python backend starts: Merlin Systems' executor, adapted to our client."""

from __future__ import annotations

import traceback
from typing import Any

import triton_python_backend_utils as pb_utils
from merlin.systems.triton.models.executor_model import TritonPythonModel as MerlinModel
from merlin.table import TensorTable
from numpy.typing import NDArray

from ensemble.merlin.executor import MemoExecutor
from ensemble.merlin.request import null_input
from runtime.errors import BadRequest, ServerFault

__all__ = ["TritonPythonModel"]


class TritonPythonModel(MerlinModel):  # type: ignore[misc]
    """Merlin's own model with another `execute`.

    A shared node runs once a request, an input that is left out is null, a request that fails gets one sentence instead
    of a traceback, and outputs may be texts, which Merlin's own conversion cannot hand to Triton.
    """

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer the requests one by one, each for itself."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        try:
            table = TensorTable({name: self._given(request, name) for name in self.ensemble.input_schema.column_names})
            answer = MemoExecutor().transform(table, [self.ensemble.graph.output_node])
            names = self.ensemble.output_schema.column_names
            return pb_utils.InferenceResponse([pb_utils.Tensor(name, answer[name].values) for name in names])
        except BadRequest as error:
            return _refusal(str(error))
        except Exception:  # whatever it is, the other requests must be answered
            pb_utils.Logger.log_error(traceback.format_exc())
            return _refusal(str(ServerFault()))

    def _given(self, request: Any, name: str) -> NDArray:
        tensor = pb_utils.get_input_tensor_by_name(request, name)
        if tensor is None:
            return null_input(self.ensemble.input_schema[name].dtype.to_numpy)
        given: NDArray = tensor.as_numpy()
        return given


def _refusal(sentence: str) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(sentence, pb_utils.TritonError.INVALID_ARG))
