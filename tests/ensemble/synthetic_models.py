"""Small ONNX graphs with the inputs and outputs of docs/ARTEFACTS.md and random weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from workflows.features.schema import Feature

__all__ = ["FIELD_DIM", "HIDDEN", "query_tower", "ranker", "ranker_query"]

FIELD_DIM, HIDDEN = 4, 16


class GraphBuilder:
    """Nodes, weights and inputs of one graph."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.inputs: list[Any] = []

    def weight(self, values: np.ndarray) -> str:
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def normal(self, *shape: int) -> str:
        return self.weight(self.rng.normal(size=shape).astype(np.float32) * 0.5)

    def add(self, kind: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        output = output or f"node_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def input(self, feature: Feature) -> str:
        kind = TensorProto.INT32 if feature.kind == "categorical" else TensorProto.FLOAT
        self.inputs.append(helper.make_tensor_value_info(feature.name, kind, ["B", feature.length or 1]))
        return feature.name

    def field(self, feature: Feature, dim: int) -> str:
        """float32 [B, 1, dim]: an embedding, the masked mean of a list, or a scaled number."""
        name = self.input(feature)
        if feature.kind == "continuous":
            scaled = self.add("MatMul", [name, self.normal(1, dim)])
            return self.add("Unsqueeze", [scaled, self.weight(np.array([1]))])
        rows = self.add("Gather", [self.normal(feature.cardinality, dim), name])  # (B, 1 or L, dim)
        if not feature.length:
            return rows
        zero, axis = self.weight(np.array(0, np.int32)), self.weight(np.array([1]))
        mask = self.add("Cast", [self.add("Greater", [name, zero])], to=TensorProto.FLOAT)
        mask = self.add("Unsqueeze", [mask, self.weight(np.array([2]))])  # (B, L, 1)
        total = self.add("ReduceSum", [self.add("Mul", [rows, mask]), axis], keepdims=1)
        count = self.add("Max", [self.add("ReduceSum", [mask, axis], keepdims=1), self.weight(np.ones(1, np.float32))])
        return self.add("Div", [total, count])

    def flat(self, fields: str, width: int) -> str:
        return self.add("Reshape", [fields, self.weight(np.array([-1, width]))])

    def save(self, path: Path, outputs: dict[str, list[Any]]) -> None:
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
        graph = helper.make_graph(self.nodes, path.stem, self.inputs, values, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        path.write_bytes(model.SerializeToString())


def query_tower(rng: np.random.Generator, features: Sequence[Feature], dim: int, path: Path) -> None:
    """Output `query` float32 [B, D], L2-normalised."""
    g = GraphBuilder(rng)
    fields = g.add("Concat", [g.field(feature, dim) for feature in features], axis=1)
    width = len(features) * dim
    raw = g.add("MatMul", [g.flat(fields, width), g.normal(width, dim)])
    g.add("LpNormalization", [raw], "query", axis=1, p=2)
    g.save(path, {"query": ["B", dim]})


def ranker_query(rng: np.random.Generator, features: Sequence[Feature], path: Path) -> int:
    """Outputs `fields` float32 [B, Fq, FIELD_DIM] and `hidden` float32 [B, HIDDEN]; returns Fq."""
    g = GraphBuilder(rng)
    fields = g.add("Concat", [g.field(feature, FIELD_DIM) for feature in features], "fields", axis=1)
    width = len(features) * FIELD_DIM
    g.add("Gemm", [g.flat(fields, width), g.normal(width, HIDDEN), g.normal(HIDDEN)], "hidden")
    g.save(path, {"fields": ["B", len(features), FIELD_DIM], "hidden": ["B", HIDDEN]})
    return len(features)


def ranker(
    rng: np.random.Generator,
    query: Sequence[Feature],
    item: Sequence[Feature],
    num_pairs: int,
    path: Path,
    num_tasks: int = 1,
) -> None:
    """The plain graph: query inputs, item inputs and `pair` [B, P]; output `logit` float32 [B, T]."""
    g = GraphBuilder(rng)
    fields = g.add("Concat", [g.field(feature, FIELD_DIM) for feature in [*query, *item]], axis=1)
    g.inputs.append(helper.make_tensor_value_info("pair", TensorProto.FLOAT, ["B", num_pairs]))
    width = (len(query) + len(item)) * FIELD_DIM
    joined = g.add("Concat", [g.flat(fields, width), "pair"], axis=1)
    hidden = g.add("Relu", [g.add("Gemm", [joined, g.normal(width + num_pairs, HIDDEN), g.normal(HIDDEN)])])
    g.add("MatMul", [hidden, g.normal(HIDDEN, num_tasks)], "logit")
    g.save(path, {"logit": ["B", num_tasks]})
