"""An ONNX graph, run on one thread, so that a row does not depend on the others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Read when it is imported: from 1.29 on, ONNX Runtime reports hashes of the models to its makers where nobody says no.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["OnnxGraph"]

LOG_ERRORS_ONLY = 3
# Four users cost a sixth more than one; of more, a single user would pay for too many that nobody asked for.
TILE_ROWS = 4


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
        return dict(zip(self.outputs, self._session.run(self.outputs, self._feed(inputs)), strict=True))

    def run_rows(self, inputs: Mapping[str, NDArray]) -> dict[str, NDArray]:
        """Run in tiles of a fixed height, the last one filled up with its last row.

        Matrix products round differently for other batch sizes, and slates must not: a user's row is computed in the
        same shape whoever else is asked for.
        """
        feed = self._feed(inputs)
        num_rows = len(next(iter(feed.values())))
        tiles = [self._session.run(self.outputs, _tile(feed, start)) for start in range(0, num_rows, TILE_ROWS)]
        columns = zip(self.outputs, zip(*tiles), strict=True)  # noqa: B905
        return {n: (values[0] if len(tiles) == 1 else np.concatenate(values))[:num_rows] for n, values in columns}

    def _feed(self, inputs: Mapping[str, NDArray]) -> dict[str, NDArray]:
        return {name: inputs[name] for name in self.inputs}


def _tile(feed: Mapping[str, NDArray], start: int) -> dict[str, NDArray]:
    """TILE_ROWS rows from `start` on."""
    tile = {name: values[start : start + TILE_ROWS] for name, values in feed.items()}
    missing = TILE_ROWS - len(next(iter(tile.values())))
    if not missing:
        return tile
    counts = np.ones(TILE_ROWS - missing, np.int64)
    counts[-1] += missing
    return {name: values.repeat(counts, axis=0) for name, values in tile.items()}
