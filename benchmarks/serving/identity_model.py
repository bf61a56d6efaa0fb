"""The floor: a Python-backend model that reads the chain's inputs and answers tensors of the chain's shapes, no more.

Copied as model.py into the floor's repository; NumPy alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["TritonPythonModel"]

DTYPES = {"TYPE_INT64": np.int64, "TYPE_INT32": np.int32, "TYPE_FP32": np.float32, "TYPE_STRING": np.object_}


class TritonPythonModel:
    """What Triton's Python backend instantiates."""

    def initialize(self, args: dict[str, str]) -> None:
        """Note the names and shapes of the tensors."""
        import triton_python_backend_utils as pb_utils

        self._pb: Any = pb_utils
        config = json.loads(args["model_config"])
        self._inputs = [tensor["name"] for tensor in config["input"]]
        width = int(config["parameters"]["slate_size"]["string_value"])
        self._outputs = [
            (tensor["name"], width if int(tensor["dims"][0]) == -1 else 1, DTYPES[tensor["data_type"]])
            for tensor in config["output"]
        ]

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Read every input of every request; answer zeros or empty text."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        given = [self._pb.get_input_tensor_by_name(request, name) for name in self._inputs]
        num_users = max(len(tensor.as_numpy()) for tensor in given if tensor is not None)
        tensors = [
            self._pb.Tensor(name, np.full((num_users, width), b"" if dtype is np.object_ else 0, dtype))
            for name, width, dtype in self._outputs
        ]
        return self._pb.InferenceResponse(tensors)
