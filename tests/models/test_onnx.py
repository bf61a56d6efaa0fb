"""Large weights lie beside the graph, where ONNX Runtime maps them, and travel with it."""

from __future__ import annotations

import numpy as np
import pytest

from ensemble.export.files import place
from models.onnx import MAPPED_FROM_BYTES, check_parity, export_onnx


@pytest.mark.parametrize("num_rows", [100, MAPPED_FROM_BYTES // 16])
def test_a_large_table_is_mapped_and_travels_with_its_graph(tmp_path, num_rows):
    import tensorflow as tf

    table = tf.Variable(np.random.default_rng(0).standard_normal((num_rows, 4)).astype(np.float32))
    function = lambda inputs: {"row": tf.gather(table, inputs["code"][:, 0])}  # noqa: E731
    is_large = num_rows > 100
    for _ in range(2):  # written again, the weights are replaced
        export_onnx(function, {"code": (np.int32, 1)}, tmp_path / "a.onnx")
    codes = {"code": np.array([[0], [num_rows - 1]], np.int32)}
    assert check_parity(tmp_path / "a.onnx", function, codes) == 0.0
    weights = tmp_path / "a.onnx.data"
    assert weights.exists() == is_large
    assert (tmp_path / "a.onnx").stat().st_size < 10_000
    place(tmp_path / "a.onnx", tmp_path / "alone/model.onnx")
    (tmp_path / "folder").mkdir()
    place(tmp_path / "a.onnx", tmp_path / "folder/a.onnx")
    place(tmp_path / "folder", tmp_path / "copy")
    for graph in ("alone/model.onnx", "copy/a.onnx"):
        assert check_parity(tmp_path / graph, function, codes) == 0.0
    if is_large:
        assert weights.stat().st_size == num_rows * 16
