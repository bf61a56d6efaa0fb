"""An ONNX graph, run one user at a time on one thread."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

__all__ = ["OnnxGraph"]

LOG_ERRORS_ONLY = 3


class OnnxGraph:
    """A graph whose inputs and outputs have the batch as their first axis.

    Args:
        path: the .onnx file.
    """

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        # One thread: many server instances share the cores, and two threads collapse under contention.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = LOG_ERRORS_ONLY
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = [tensor.name for tensor in self._session.get_inputs()]
        self.outputs = [tensor.name for tensor in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, NDArray]) -> dict[str, NDArray]:
        """Run the whole batch at once: [B, ...] -> [B, ...]."""
        return dict(zip(self.outputs, self._session.run(None, self._feed(inputs)), strict=True))

    def run_rows(self, inputs: Mapping[str, NDArray]) -> dict[str, NDArray]:
        """Run row by row: matrix products round differently for other batch sizes, and slates must not."""
        feed = self._feed(inputs)
        num_rows = len(next(iter(feed.values())))
        if num_rows == 1:
            return self.run(inputs)
        rows = [self._session.run(None, {n: v[i : i + 1] for n, v in feed.items()}) for i in range(num_rows)]
        return {name: np.concatenate(values) for name, values in zip(self.outputs, zip(*rows), strict=True)}  # noqa: B905

    def _feed(self, inputs: Mapping[str, NDArray]) -> dict[str, NDArray]:
        return {name: inputs[name] for name in self.inputs}
