"""Tables whose columns and ids are called as people call them: trained, served in both layouts, asked in every way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cascade_client import CascadeClient, parse_url
from cascade_client.tensors import encode_column, encode_context
from cascade_client.transport import connect
from ensemble.serving.repository import find_repository
from ensemble.serving.triton import TritonServer
from runtime.spec import encoded
from tests.ensemble.context_columns import COLUMNS
from workflows.features.read import read_table
from workflows.features.schema import FeatureSchema

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.triton, pytest.mark.slow, pytest.mark.long]

USERS = [
    *("José", "Jose\u0301", "用户", "مستخدم", "👩‍👩‍👧", 'O\'Brien "x"', "a/b?c=d&e#f%20", "<script>alert(1)</script>"),
    *("nan", "NULL", "None", "007", "7", " lead", "trail ", "trail", "tab\there", "line\nbreak", "x" * 255, "ÿ" * 127),
    *("-5", "1e3", "true", "{}", "[1]", "\\u0041", "a,b", "--flag", "[b]bold[/b]"),
]
ITEMS = ["<b>item</b>&amp;", *USERS[1:], *(f"i{n}" for n in range(6))]
# Names that mean something to Keras, Merlin, TensorFlow, DuckDB, Triton or Cascade, and names that nearly are another.
ODD_NAMES = [
    *("labels", "self", "device.type", "device-type", "device_type", "inputs", "training", "mask", "query", "fields"),
    *(
        "pair",
        "logit",
        "encoded_context_1_labels",
        "between_query",
        "*",
        "a\nb",
        "back\\slash",
        'quo"te',
        "x/y",
        " ",
        "é",
    ),
    *("y" * 300, "candidates"),
]
USER_NAMES = ["labels", "Brand", "user_id", "score", "path", "a b", "name", "device.type"]
ITEM_NAMES = ["labels", "self", "brand", "item_id", "index", "item_id_size", "x/y", "é", "7", "_", "kwargs", "y" * 300]
# Plain JSON cannot carry the seventeen digits of this column to the last bit.
TYPES = [column for name, column in COLUMNS.items() if name != "cut_long"]
CONTEXT = {name: TYPES[number % len(TYPES)] for number, name in enumerate(ODD_NAMES)}
LABELS = ["clicked?", "context_1_labels"]
NUM_EVENTS = 700


def write_tables(folder: Path) -> Path:
    """Three tables and their config."""
    rng = np.random.default_rng(4)
    taste = rng.integers(0, len(USERS), NUM_EVENTS)
    items = rng.integers(0, len(ITEMS) // 2, NUM_EVENTS) * 2 + taste % 2
    columns: dict[str, Any] = {
        "who": [USERS[row] for row in taste],
        "what": [ITEMS[min(row, len(ITEMS) - 1)] for row in items],
        "when": 1_700_000_000 + 60 * np.arange(NUM_EVENTS),
        LABELS[0]: rng.random(NUM_EVENTS) < 0.8,
        LABELS[1]: rng.random(NUM_EVENTS) < 0.3,
    }
    for name, (kind, _, values) in CONTEXT.items():
        pool = [*values, None]
        columns[name] = pa.array([pool[n] for n in rng.integers(0, len(pool), NUM_EVENTS)], kind)
    pq.write_table(pa.table(columns), folder / "events.parquet")
    for path, key, ids, names in (("users", "who", USERS, USER_NAMES), ("items", "what", ITEMS, ITEM_NAMES)):
        features = {name: [f"v{(n + k) % 4}" for n in range(len(ids))] for k, name in enumerate(names)}
        pq.write_table(pa.table({key: ids, **features}), folder / f"{path}.parquet")
    (folder / "odd.toml").write_text(_config(folder))
    return folder / "odd.toml"


def _config(folder: Path) -> str:
    def table(side: str, specs: dict[str, dict[str, Any]]) -> str:
        lines = (f"{json.dumps(name)} = {_inline(spec)}" for name, spec in specs.items())
        return "\n".join([f"[features.{side}]", *lines])

    paths = "\n".join(f'{name} = "{folder / name}.parquet"' for name in ("events", "items", "users"))
    data = 'user_id = "who"\nitem_id = "what"\ntimestamp = "when"'
    return "\n".join(
        [
            f"[data]\n{paths}\n{data}\nlabels = {json.dumps(LABELS)}\ncontext = {json.dumps(list(CONTEXT))}",
            table("users", {name: {"kind": "categorical"} for name in USER_NAMES}),
            table("items", {name: {"kind": "categorical"} for name in ITEM_NAMES}),
            table("context", {name: spec for name, (_, spec, _) in CONTEXT.items()}),
            "[retrieval]\nembedding_dim = 8\nhidden = [16]\n[retrieval.windows]\nmax_epochs = 1",
            "[ranking]\nembedding_dim = 4\nbottom = [8]\ntop = [8]\nmax_epochs = 1",
            "[chain]\nnum_candidates = 20\nslate_size = 5\nmax_slate_size = 20\ninstances = 1",
            "[evaluate]\ncutoffs = [5]\nnum_bootstrap = 5",
        ]
    )


def _inline(spec: dict[str, Any]) -> str:
    values = {key: json.dumps(value) for key, value in spec.items()}
    return "{ " + ", ".join(f"{key} = {value}" for key, value in values.items()) + " }"


def cascade(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from scripts.cli import main; main()", *arguments]
    environment = {**os.environ, "COLUMNS": "300"}
    return subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT, env=environment, check=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    done = cascade("run", "--config", str(write_tables(folder)), "--out", str(folder / "run"))
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture(scope="module", params=["ensemble", "fused"])
def server(run: Path, request: pytest.FixtureRequest) -> Iterator[TritonServer]:
    with TritonServer(find_repository(run, request.param)) as started:
        yield started


def logged(run: Path, split: str) -> tuple[list[str], dict[str, list[Any]], dict[str, np.ndarray]]:
    """Who asked with which raw context in 60 events of a split, and what was made of these for training, by column."""
    raw = pq.read_table(run / "data" / split).slice(0, 60)
    ids = np.load(run / "data/ids/users.npy")
    features = FeatureSchema.load(run / "features/schema.json").side("context")
    table = read_table(run / "features" / split, [feature.name for feature in features])
    return (
        [ids[row].decode() for row in raw["user_row"].to_pylist()],
        {feature.column: raw[feature.column].to_pylist() for feature in features},
        {feature.name: table[feature.name][:60] for feature in features},
    )


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_request_has_the_codes_that_training_saw(run: Path, server: TritonServer, protocol: str) -> None:
    url = getattr(server, f"{protocol}_url")
    with CascadeClient(url) as client:
        kinds = client.inputs
    assert set(CONTEXT) < set(kinds)
    if server.repository.name == "fused":  # where the first step is no model of its own
        return
    transport = connect(parse_url(url), "cascade_features")
    for split in ("train", "test"):
        users, context, wanted = logged(run, split)
        tensors = [encode_context(name, values, kinds[name]) for name, values in context.items()]
        got = transport.infer([encode_column("user_id", users, "BYTES"), *tensors], 10.0)
        for name, codes in wanted.items():
            np.testing.assert_array_equal(got[encoded(name)][:, 0], codes, err_msg=name)
    transport.close()


def test_every_way_to_ask_gives_the_slate_of_the_local_chain(run: Path, server: TritonServer) -> None:
    from runtime.chain import Chain

    users, context, _ = logged(run, "test")
    chain = Chain.load(run / "repo/fused/cascade/1/chain")
    kinds = {tensor.name: tensor.dtype for tensor in chain.spec.request}
    arrays = {name: encode_context(name, values, kinds[name]).array for name, values in context.items()}
    local = chain.recommend({"user_id": encode_column("user_id", users, "BYTES").array, **arrays})
    wanted = [[item.decode() for item in row] for row in local["item_id"].tolist()]
    for url in (server.grpc_url, server.http_url):
        with CascadeClient(url) as client:
            slates = client.recommend(users, context=context)
            assert [slate.item_ids for slate in slates] == wanted
            assert [slate.user_id for slate in slates] == users
            lists = [[item, users[0]] for item in ITEMS[: len(users)] + ITEMS[: len(users) - len(ITEMS)]]
            again = client.recommend(users, recent_item_ids=lists, exclude_item_ids=lists)
            assert not any(set(slate.item_ids) & set(seen) for slate, seen in zip(again, lists, strict=True))
    assert _by_json(server, users, arrays, kinds) == wanted


def _by_json(
    server: TritonServer, users: list[str], arrays: dict[str, np.ndarray], kinds: dict[str, str]
) -> list[list[str]]:
    shape = [len(users), 1]
    inputs: list[dict[str, Any]] = [{"name": "user_id", "shape": shape, "datatype": "BYTES", "data": users}]
    for name, array in arrays.items():
        data = [value.decode() if isinstance(value, bytes) else value for value in array[:, 0].tolist()]
        inputs.append({"name": name, "shape": shape, "datatype": kinds[name], "data": data})
    body = json.dumps({"inputs": inputs}).encode()
    with urllib.request.urlopen(f"{server.http_url}/v2/models/cascade/infer", data=body, timeout=300) as response:
        [items] = [output for output in json.load(response)["outputs"] if output["name"] == "item_id"]
    return np.reshape(items["data"], items["shape"]).tolist()  # type: ignore[no-any-return]


def test_the_command_line_asks_with_odd_ids_names_and_values(run: Path, server: TritonServer) -> None:
    _, context, _ = logged(run, "test")
    given = {name: [next((v for v in values if v is not None), None)] for name, values in context.items()}
    options = [f"--context={name}={'' if value is None else value}" for name, [value] in given.items()]
    done = cascade("recommend", "--url", server.grpc_url, "--json", *(f"--user-id={user}" for user in USERS), *options)
    assert done.returncode == 0, done.stderr
    with CascadeClient(server.grpc_url) as client:
        slates = client.recommend(USERS, context={name: values * len(USERS) for name, values in given.items()})
    assert json.loads(done.stdout) == slates.to_builtins()
