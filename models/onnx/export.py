"""TensorFlow functions to ONNX files, and the check that both give the same numbers. Imports TensorFlow on use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.onnx.placeholders import looked_up, placeholders
from workflows.core.errors import ArtefactError
from workflows.features.schema import Feature

__all__ = [
    "DATA_SUFFIX",
    "LARGE_BYTES",
    "PARITY_TOLERANCE",
    "check_parity",
    "export_onnx",
    "feature_widths",
    "full_float32",
    "random_inputs",
    "session",
]

OPSET = 17
PARITY_TOLERANCE = 1e-5
# Weights from this size on lie in a file of their own beside the graph.
MAPPED_FROM_BYTES = 1 << 20
DATA_SUFFIX = ".data"
# Embedding tables from this size on are put into the graph after it was converted.
LARGE_BYTES = 1 << 20

# Input name -> (dtype, width): a [B, width] tensor.
Inputs = Mapping[str, tuple[Any, int]]


def feature_widths(features: Sequence[Feature]) -> dict[str, tuple[Any, int]]:
    """Name -> (dtype, width) of features: int32 codes, float32 values; [B, 1] for a scalar, [B, L] for a list."""
    return {f.name: (np.int32 if f.kind == "categorical" else np.float32, f.length or 1) for f in features}


def export_onnx(function: Callable[[dict[str, Any]], dict[str, Any]], inputs: Inputs, path: Path) -> None:
    """Write a TensorFlow function as an ONNX file; every input and output keeps its name.

    Large weights, such as embedding tables, go into `path` + DATA_SUFFIX: ONNX Runtime maps that file into memory, so
    that a session opens at once and the processes of a machine share it; each would copy weights inside the graph.

    Args:
        function: named tensors [B, width] -> named tensors.
        inputs: name -> (dtype, width) of each input.
        path: the file to write.
    """
    import onnx
    import tensorflow as tf
    import tf2onnx

    names = list(inputs)
    signature = [tf.TensorSpec([None, width], tf.as_dtype(dtype), name=name) for name, (dtype, width) in inputs.items()]

    def named(*tensors: Any) -> dict[str, Any]:
        outputs = function(dict(zip(names, tensors, strict=True)))
        return {name: tf.identity(value, name=name) for name, value in outputs.items()}

    def convert() -> Any:
        # A function of its own each time: one that has been traced keeps the variables that it saw.
        traced = tf.function(named, input_signature=signature, autograph=False)
        return tf2onnx.convert.from_function(traced, input_signature=signature, opset=OPSET)[0]

    traced = tf.function(named, input_signature=signature, autograph=False).get_concrete_function()
    # tf2onnx takes some thirty times the size of a table that it converts, and minutes.
    tables = [table for table in looked_up(traced) if table.shape.num_elements() * 4 >= LARGE_BYTES]
    with placeholders(tables) as small:
        graph = convert()
    for weight in graph.graph.initializer:
        number = small.number_of(onnx.numpy_helper.to_array(weight))
        if number is not None:
            weight.CopyFrom(onnx.numpy_helper.from_array(tables[number].numpy(), weight.name))
    _save(graph, path)


def _save(graph: Any, path: Path) -> None:
    """Write a graph, its large weights beside it."""
    import onnx

    if any(len(weight.raw_data) >= MAPPED_FROM_BYTES for weight in graph.graph.initializer):
        weights = path.with_name(path.name + DATA_SUFFIX)
        weights.unlink(missing_ok=True)  # it would be appended to
        onnx.save_model(
            graph,
            os.fspath(path),
            save_as_external_data=True,
            location=weights.name,
            size_threshold=MAPPED_FROM_BYTES,
        )
    else:
        onnx.save_model(graph, os.fspath(path))


@contextmanager
def full_float32() -> Iterator[None]:
    """Multiply matrices in whole float32 on GPUs that would round to TF32: what is exported must agree with the CPU."""
    from tensorflow.config import experimental

    before = experimental.tensor_float_32_execution_enabled()
    experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        experimental.enable_tensor_float_32_execution(before)


def session(path: Path, num_threads: int = 1) -> Any:
    """An ONNX Runtime session on the CPU.

    Args:
        path: an ONNX file.
        num_threads: threads inside one operator.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = num_threads, 1
    return onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])


def check_parity(
    path: Path,
    function: Callable[[dict[str, Any]], Mapping[str, Any]],
    inputs: Mapping[str, NDArray],
    tolerance: float = PARITY_TOLERANCE,
) -> float:
    """Compare an ONNX file with the function it was made from.

    Args:
        path: the ONNX file.
        function: named tensors -> named tensors.
        inputs: name -> [B, width], the rows to compare on.
        tolerance: the largest absolute difference that passes.

    Returns:
        The largest absolute difference over all outputs.

    Raises:
        ArtefactError: the difference is above the tolerance, or not a number.
    """
    import tensorflow as tf

    expected = function({name: tf.constant(value) for name, value in inputs.items()})
    graph = session(path)
    names = [output.name for output in graph.get_outputs()]
    wanted = {node.name for node in graph.get_inputs()}
    got = graph.run(names, {name: value for name, value in inputs.items() if name in wanted})
    worst = 0.0
    for name, value in zip(names, got, strict=True):
        difference = float(np.abs(np.asarray(expected[name]) - value).max(initial=0.0))
        if not difference <= tolerance:
            raise ArtefactError(
                f"{path.name}: output {name!r} differs from TensorFlow by {difference:.2e}, expected at most "
                f"{tolerance:.0e}; check the pinned versions of tf2onnx and onnxruntime"
            )
        worst = max(worst, difference)
    return worst


def random_inputs(features: Sequence[Feature], num_rows: int, seed: int = 0) -> dict[str, NDArray]:
    """Random valid inputs: codes below the cardinality, lists padded right at random lengths, normal floats."""
    random = np.random.default_rng(seed)
    inputs: dict[str, NDArray] = {}
    for feature in features:
        shape = (num_rows, feature.length or 1)
        if feature.kind == "continuous":
            inputs[feature.name] = random.standard_normal(shape).astype(np.float32)
            continue
        codes = random.integers(1, max(feature.cardinality, 2), shape).astype(np.int32)
        if feature.length:
            codes[np.arange(shape[1]) >= random.integers(0, shape[1] + 1, (num_rows, 1))] = 0
        inputs[feature.name] = codes
    return inputs
