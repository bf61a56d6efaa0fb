"""The Merlin graph runs the same code: the same answers, and a repository without Merlin or pickle."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ensemble.export.compile import compile_chain
from ensemble.export.layouts import Names, fused_config, tied_config
from runtime.chain import Chain
from runtime.plan import Plan, wire
from runtime.spec import ChainSpec, Tensor
from runtime.steps.features import EncodeRequest
from tests.ensemble.synthetic import item_id, make_run, user_id
from workflows.core.quiet import quiet

quiet()

from ensemble.graph import chain as drawn_chain  # noqa: E402
from ensemble.graph import request_table  # noqa: E402
from ensemble.merlin.executor import MemoExecutor  # noqa: E402
from ensemble.operators.operator import ChainOperator  # noqa: E402
from ensemble.operators.runtime import RepositoryRuntime  # noqa: E402


@pytest.fixture(scope="module", params=[False, True], ids=["int", "text"])
def world(request, tmp_path_factory) -> tuple[Path, Chain, bool]:
    root = tmp_path_factory.mktemp("graph")
    variant = {"text_ids": request.param, "index": "ivf" if request.param else "exact", "factored": not request.param}
    compile_chain(*make_run(root / "run", **variant), root / "chain", "serve")
    return root / "chain", Chain.load(root / "chain"), request.param


@pytest.mark.parametrize("num_users", [1, 2, 33])
def test_local_graph_equals_chain(world, num_users):
    folder, chain, text_ids = world
    dtype = object if text_ids else np.int64
    users = [[user_id(row if row % 5 else 10_000, text_ids)] for row in range(num_users)]
    request = {
        "user_id": np.array(users, dtype),
        "device": np.array([[b"phone"]] * num_users, object),
        "recent_item_ids": np.array([[item_id(4, text_ids), item_id(9, text_ids)]] * num_users, dtype),
    }
    for given in (request, {"user_id": request["user_id"]}):
        expected = chain.recommend(given)
        table = drawn_chain(folder).transform(request_table(chain.spec, given), runtime=RepositoryRuntime())
        assert {name: table[name].values.tolist() for name in table} == {n: v.tolist() for n, v in expected.items()}


def test_schemas_travel_with_the_graph(world):
    folder, chain, _ = world
    graph = drawn_chain(folder).graph
    assert graph.input_schema.column_names == [tensor.name for tensor in chain.spec.request]
    assert graph.output_schema.column_names == ["item_id", "score", "num_items", "path"]
    assert graph.output_schema["score"].dtype.name == "float32"


def test_a_shared_node_runs_once(world, monkeypatch):
    folder, chain, text_ids = world
    calls = []
    parse = EncodeRequest.parse
    monkeypatch.setattr(EncodeRequest, "parse", lambda self, request: calls.append(1) or parse(self, request))
    request = {"user_id": np.array([[user_id(1, text_ids)]], object if text_ids else np.int64)}
    MemoExecutor().transform(request_table(chain.spec, request), [drawn_chain(folder).graph.output_node])
    assert len(calls) == 1


def test_heavy_state_stays_out_of_a_pickled_operator(world):
    operator = ChainOperator(EncodeRequest(), world[0])
    request = {"user_id": np.array([[user_id(1, world[2])]], object if world[2] else np.int64)}
    operator.transform(None, request_table(world[1].spec, request))
    assert len(pickle.dumps(operator)) < 20_000


def test_layouts(world, tmp_path):
    graph = drawn_chain(world[0])
    for layout in ("fused", "ensemble"):
        graph.export(tmp_path / layout, runtime=RepositoryRuntime(layout))
    models = Plan.load(world[0]).models
    steps = {f"cascade_{model}" for model in models}
    assert {path.name for path in (tmp_path / "fused").iterdir()} == {"cascade"}
    assert {path.name for path in (tmp_path / "ensemble").iterdir()} == {"cascade", *steps}
    config = (tmp_path / "ensemble/cascade/config.pbtxt").read_text()
    assert 'platform: "ensemble"' in config
    places = [config.index(f'"cascade_{model}"') for model in models]
    assert places == sorted(places)
    for path in tmp_path.rglob("*.py"):
        imported = re.findall(r"^\s*(?:import|from) (\w+)", path.read_text(), re.MULTILINE)
        assert not {"merlin", "tensorflow", "pandas", "dask", "pickle", "msgspec"} & set(imported), path
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".pkl", ".pickle")]


def test_the_query_tower_can_run_on_tritons_own_onnx_backend(world, tmp_path):
    drawn_chain(world[0]).export(tmp_path / "out", runtime=RepositoryRuntime("ensemble", "onnxruntime"))
    config = (tmp_path / "out/cascade_query/config.pbtxt").read_text()
    assert 'backend: "onnxruntime"' in config
    assert 'input { name: "recent_item_ids" data_type: TYPE_INT32 dims: [ 6 ] }' in config
    assert (tmp_path / "out/cascade_query/1/model.onnx").is_file()
    tied = (tmp_path / "out/cascade/config.pbtxt").read_text()
    assert 'input_map { key: "recent_item_ids" value: "encoded_recent_item_ids" }' in tied


def test_columns_of_a_request_may_be_called_like_the_tensors_between_steps_or_hold_anything(world):
    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    names = [
        "query",
        "_query",
        "candidates",
        "encoded_hour",
        "user_row",
        'a"b\\c\nd',
        "é\U0001f600",
        "x/y",
        "*",
        "\\x41",
    ]
    spec = ChainSpec.load(world[0])
    spec = replace(spec, context_columns=tuple(Tensor(name, "FP64", optional=True) for name in names))
    requested = [tensor.name for tensor in spec.request]
    plan = wire(Plan.load(world[0]).nodes, spec)
    fused = text_format.Parse(fused_config(spec, plan, Names()), ModelConfig())
    assert [tensor.name for tensor in fused.input] == requested
    tied = text_format.Parse(tied_config(spec, plan, Names()), ModelConfig())
    assert [tensor.name for tensor in tied.input] == requested
    first, *others = tied.ensemble_scheduling.step
    assert dict(first.input_map) == {name: name for name in requested}
    written = set(first.output_map.values())
    for step in others:
        assert set(step.input_map.values()) <= written
        written |= set(step.output_map.values())
    assert not written & set(requested)
    assert {tensor.name for tensor in tied.output} <= written
