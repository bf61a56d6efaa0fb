"""Large weights lie beside the graph, where ONNX Runtime maps them, and travel with it."""

from __future__ import annotations

import numpy as np
import pytest

from ensemble.export.files import place
from models.onnx.export import LARGE_BYTES, MAPPED_FROM_BYTES, check_parity, export_onnx


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


@pytest.mark.parametrize("use", ["rows", "shared", "product", "scaled"])
def test_a_large_table_is_right_however_it_is_used(tmp_path, use):
    import tensorflow as tf

    random = np.random.default_rng(1)
    table, other = (tf.Variable(random.standard_normal((LARGE_BYTES // 16, 4)).astype(np.float32)) for _ in range(2))
    before = table.numpy()
    uses = {
        "rows": lambda code: tf.gather(table, code) + tf.gather(other, code),
        "shared": lambda code: tf.gather(table, code) * tf.gather(table, code + 1),
        "product": lambda code: tf.matmul(tf.gather(table, code), table, transpose_b=True)[:, :5],
        "scaled": lambda code: tf.gather(table * 2.0, code) + tf.cast(tf.shape(table)[0], tf.float32),
    }
    export_onnx(lambda inputs: {"y": uses[use](inputs["code"][:, 0])}, {"code": (np.int32, 1)}, tmp_path / "a.onnx")
    codes = {"code": np.array([[0], [7], [LARGE_BYTES // 16 - 2]], np.int32)}
    assert check_parity(tmp_path / "a.onnx", lambda inputs: {"y": uses[use](inputs["code"][:, 0])}, codes) < 1e-5
    np.testing.assert_array_equal(table.numpy(), before)


def test_the_converter_never_sees_a_table_that_is_looked_up(tmp_path, monkeypatch):
    import tensorflow as tf
    import tf2onnx

    table, seen = tf.Variable(tf.zeros([LARGE_BYTES // 16, 4])), []
    convert = tf2onnx.convert.from_function

    def watched(*args, **kwargs):
        result = convert(*args, **kwargs)
        seen.extend(tuple(weight.dims) for weight in result[0].graph.initializer if len(weight.dims) == 2)
        return result

    monkeypatch.setattr(tf2onnx.convert, "from_function", watched)
    export_onnx(lambda inputs: {"y": tf.gather(table, inputs["code"])}, {"code": (np.int32, 1)}, tmp_path / "a.onnx")
    assert seen == [(3, 4)]
