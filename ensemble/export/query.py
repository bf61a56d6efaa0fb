"""The graphs that read a user's side, the query tower and the ranker's query part, as one: one call a request."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ensemble.export.files import place_weights
from runtime.steps.query import QUERY_FILE, RANKER_FIELDS, RANKER_HIDDEN

__all__ = ["write_query"]

PREFIX = "ranker/"
FIELDS = PREFIX + "fields"


def write_query(tower: Path, ranker: Path | None, folder: Path) -> None:
    """Write `folder`/query.onnx; its mapped weights are placed beside it, not copied.

    Args:
        tower: query_tower.onnx, whose output is `query` [B, D].
        ranker: ranker_query.onnx, whose outputs are `fields` [B, Fq, D] and `hidden` [B, H]; None for a ranker that is
            not factored. Inputs of the same name are the same.
        folder: the compiled chain.
    """
    import onnx

    model = onnx.load(os.fspath(tower), load_external_data=False)
    place_weights(tower, folder)
    if ranker is not None:
        _add(model.graph, onnx.load(os.fspath(ranker), load_external_data=False).graph)
        place_weights(ranker, folder)
    onnx.save_model(model, os.fspath(folder / QUERY_FILE))


def _add(graph: Any, part: Any) -> None:
    """Put `part` into `graph`; every name of it but its inputs gets a prefix."""
    from onnx import TensorProto, helper

    shared = {value.name for value in part.input}
    renamed = {"": "", **{name: name for name in shared}, "hidden": RANKER_HIDDEN}
    for node in part.node:
        node.name = node.name and PREFIX + node.name
        for names in (node.input, node.output):
            names[:] = [renamed.get(name, PREFIX + name) for name in names]
    for weight in part.initializer:
        weight.name = PREFIX + weight.name
    known = {value.name for value in graph.input}
    graph.input.extend(value for value in part.input if value.name not in known)
    graph.initializer.extend(part.initializer)
    graph.node.extend([*part.node, helper.make_node("Flatten", [FIELDS], [RANKER_FIELDS], axis=1)])
    outputs = (RANKER_FIELDS, RANKER_HIDDEN)
    graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None]) for name in outputs)
