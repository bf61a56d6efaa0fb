"""The same raw value has the same code in training and in a request, for every type of column and every kind."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cascade_client.tensors import encode_context
from ensemble.request_columns import parsed_column, request_column
from runtime.encoders import NULL, OOV, Encoder
from runtime.plan import Node, Plan
from runtime.request import Parsed
from runtime.spec import ChainSpec, encoded
from runtime.step import path_of
from runtime.steps.features import EncodeRequest
from tests.ensemble.context_columns import COLUMNS, NUM_USERS, first_step, make_data, make_features, raw_columns
from workflows.core.run import Run
from workflows.features.read import read_table

# Column -> feature.
NAMES = {column: f"context_{number}_{column}" for number, column in enumerate(COLUMNS, start=1)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path, ChainSpec]:
    root = tmp_path_factory.mktemp("context")
    run = make_data(root / "run")
    return run, root / "chain", first_step(run, make_features(run), root / "chain")


@pytest.fixture(scope="module")
def trained(prepared: tuple[Run, Path, ChainSpec]) -> dict[str, np.ndarray]:
    """Column -> what training saw of every row, [n]."""
    table = read_table(prepared[0].folder("features") / "train")
    return {column: table[name] for column, name in NAMES.items()}


def tensors(spec: ChainSpec) -> list[Any]:
    """The raw values as the Python client sends them."""
    kinds = {column.name: column.dtype for column in spec.context_columns}
    return [encode_context(name, values, kinds[name]) for name, values in raw_columns().items()]


def check(got: dict[str, np.ndarray], trained: dict[str, np.ndarray]) -> None:
    raw = raw_columns()
    for name, wanted in trained.items():
        values = got[encoded(NAMES[name])][:, 0]
        wrong = [(raw[name][row], values[row], wanted[row]) for row in np.flatnonzero(values != wanted)]
        assert not wrong, f"{name}: (raw, request, training) = {wrong[:3]}"


def opened(folder: Path, spec: ChainSpec) -> EncodeRequest:
    step = EncodeRequest()
    step.open(folder, spec)
    return step


def the_step_alone(spec: ChainSpec) -> Plan:
    step = EncodeRequest()
    reads, gives = ({t.name: t.name for t in tensors} for tensors in (step.inputs(spec), step.outputs(spec)))
    return Plan((Node("features", path_of(step), {}, (), "features", reads, gives, step.files(spec)),))


def test_what_training_saw_is_not_null_or_unknown_everywhere(trained: dict[str, np.ndarray]) -> None:
    for name, (_, spec, _) in COLUMNS.items():
        codes = trained[name]
        if spec["kind"] != "continuous":
            assert len(set(codes.tolist())) > 2, name
            assert OOV not in codes and NULL in codes, name
        else:
            assert np.isfinite(codes).all() and len(set(codes.tolist())) >= 2, name


def test_values_on_a_boundary_fall_above_it_in_every_type(trained: dict[str, np.ndarray]) -> None:
    raw = raw_columns()
    above = [3 + sum(n >= cut for cut in (1, 3, 6, 7, 9)) for n in range(11)]
    for name in ("cut_double", "cut_single"):
        assert trained[name][:11].tolist() == above, name
    assert [float(value) for value in raw["cut_decimal"][:6]] == [0.0999, 0.1, 0.3, 0.6, 0.7, 0.9]
    assert trained["cut_decimal"][:6].tolist() == [3, 4, 5, 6, 7, 8]


def test_the_client_gives_the_codes_of_training(
    prepared: tuple[Run, Path, ChainSpec], trained: dict[str, np.ndarray]
) -> None:
    _, folder, spec = prepared
    step = opened(folder, spec)
    users = np.arange(len(trained["code_text"]))[:, None] % NUM_USERS
    check(step({"user_id": users, **{tensor.name: tensor.array for tensor in tensors(spec)}}), trained)


def test_logged_columns_ask_with_the_codes_of_training(
    prepared: tuple[Run, Path, ChainSpec], trained: dict[str, np.ndarray]
) -> None:
    _, folder, spec = prepared
    request = {}
    for column in spec.context_columns:
        values = pa.chunked_array([pa.array(raw_columns()[column.name], COLUMNS[column.name][0])])
        request[column.name] = request_column(column, values)[:, None]
    users = np.arange(len(trained["code_text"]))[:, None] % NUM_USERS
    check(opened(folder, spec)({"user_id": users, **request}), trained)


def test_parsed_columns_have_the_codes_of_training(
    prepared: tuple[Run, Path, ChainSpec], trained: dict[str, np.ndarray]
) -> None:
    """As a profile asks: past the request's own tensors, with None and NaN for null."""
    _, folder, spec = prepared
    context = {
        column.name: parsed_column(
            column, pa.chunked_array([pa.array(raw_columns()[column.name], COLUMNS[column.name][0])])
        )
        for column in spec.context_columns
    }
    num = len(trained["code_text"])
    nothing, size = np.empty((num, 0), np.int32), np.full(num, 5, np.int32)
    rows = (np.arange(num) % NUM_USERS).astype(np.int32)
    got = opened(folder, spec).encode(Parsed(rows, nothing, nothing, size, context))
    check(got, trained)


def test_the_saved_workflow_gives_the_same_codes(
    prepared: tuple[Run, Path, ChainSpec], trained: dict[str, np.ndarray]
) -> None:
    from workflows.features.config import FeatureSpec
    from workflows.features.graphs import load_workflow
    from workflows.features.source import Column, canonical, to_frame

    folder = prepared[0].folder("features")
    columns = {}
    for record in Encoder.load(folder / "encoders", "context").features:
        name = record["column"]
        dtype = "float64" if record["kind"] in ("bucketised", "continuous") else record["dtype"]
        nulls = {"", -(2**63)}
        raw = [None if value in nulls else value for value in raw_columns()[name]]
        values = pa.chunked_array([pa.array(raw, COLUMNS[name][0])])
        columns[record["name"]] = canonical(values, Column(name, FeatureSpec(), dtype))
    found = load_workflow(folder / "workflows/context").transform(to_frame(pa.table(columns), "cpu"))
    for name, wanted in trained.items():
        np.testing.assert_allclose(found[NAMES[name]].to_numpy(), wanted, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.triton
@pytest.mark.slow
class TestServed:
    """The first step as a model of a real Triton."""

    @pytest.fixture(scope="class")
    def server(self, prepared: tuple[Run, Path, ChainSpec], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
        from ensemble.export.layouts import Names, write_step
        from ensemble.serving.triton import TritonServer
        from tests.ensemble.serving.toy import seal

        repository = tmp_path_factory.mktemp("repository")
        write_step(prepared[1], the_step_alone(prepared[2]), repository, "features", Names())
        (repository / "cascade_features").rename(repository / "cascade")
        config = repository / "cascade/config.pbtxt"
        config.write_text(config.read_text().replace('"cascade_features"', '"cascade"'))
        with TritonServer(seal(repository)) as server:
            yield server

    @pytest.mark.parametrize("protocol", ["grpc", "http"])
    def test_the_client(
        self, protocol: Any, server: Any, prepared: tuple[Run, Path, ChainSpec], trained: dict[str, np.ndarray]
    ) -> None:
        from cascade_client import parse_url
        from cascade_client.tensors import encode_column
        from cascade_client.transport import connect

        transport = connect(parse_url(getattr(server, f"{protocol}_url")))
        users = encode_column("user_id", [row % NUM_USERS for row in range(len(trained["code_text"]))], "INT64")
        check(transport.infer([users, *tensors(prepared[2])], 60.0), trained)
        transport.close()

    def test_plain_json(
        self, server: Any, prepared: tuple[Run, Path, ChainSpec], trained: dict[str, np.ndarray]
    ) -> None:
        rows = len(trained["code_text"])
        inputs = [{"name": "user_id", "shape": [rows, 1], "datatype": "INT64", "data": [0] * rows}]
        for column in prepared[2].context_columns:
            data = [_json(column.dtype, value) for value in raw_columns()[column.name]]
            inputs.append({"name": column.name, "shape": [rows, 1], "datatype": column.dtype, "data": data})
        body = json.dumps({"inputs": inputs}).encode()
        with urllib.request.urlopen(f"{server.http_url}/v2/models/cascade/infer", data=body, timeout=60) as response:
            outputs = json.load(response)["outputs"]
        got = {o["name"]: np.reshape(o["data"], o["shape"]) for o in outputs}
        for name in trained:
            if COLUMNS[name][1]["kind"] == "continuous":  # written with fewer digits
                np.testing.assert_allclose(got.pop(encoded(NAMES[name]))[:, 0], trained[name], rtol=1e-5, atol=1e-6)
        # Triton reads decimals of more than 15 digits to the last bit but one; the other forms of a request are exact.
        check(
            got, {name: codes for name, codes in trained.items() if encoded(NAMES[name]) in got and name != "cut_long"}
        )


def _json(dtype: str, value: Any) -> Any:
    """As README writes a value of a request."""
    if dtype == "BYTES":
        return value or ""
    if dtype == "INT64":
        return -(2**63) if value is None else int(value)
    return float("nan") if value is None else float(value)
