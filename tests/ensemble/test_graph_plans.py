"""What is drawn is what is served: graphs with a step taken out, put in or replaced, in both layouts and published."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ensemble.config import Config
from ensemble.export.compile import compile_chain
from ensemble.export.stage import export
from ensemble.publish import publish
from runtime.chain import Chain
from runtime.spec import ChainSpec
from runtime.standard import standard_plan
from tests.ensemble.synthetic import make_run, user_id
from workflows.core.errors import ConfigError
from workflows.core.run import Run

REQUEST = {"user_id": np.array([[user_id(row, False)] for row in (2, 5, 7, 9)])}


def drawn(config: Config, graph: str) -> Config:
    return msgspec.structs.replace(config, chain=msgspec.structs.replace(config.chain, graph=graph))


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> tuple[Run, Config]:
    return make_run(tmp_path_factory.mktemp("plans") / "run", num_users=20, num_items=80)


@pytest.fixture(scope="module")
def standard(world, tmp_path_factory) -> Chain:
    folder = tmp_path_factory.mktemp("standard") / "chain"
    compile_chain(*world, folder, "serve")
    return Chain.load(folder)


def retrieved(standard: Chain) -> dict[str, np.ndarray]:
    arrays = dict(REQUEST)
    for node in standard.nodes:
        node.run(arrays)
    return arrays


def check_without_ranker(standard: Chain, answer: dict) -> None:
    arrays = retrieved(standard)
    assert answer["score"].tolist() == arrays["retrieval_score"][:, : answer["score"].shape[1]].tolist()


def check_promotion(standard: Chain, answer: dict) -> None:
    plain = standard.recommend(REQUEST)
    assert not np.array_equal(answer["item_id"], plain["item_id"])
    # Rows are (id - 7) / 3; every seventh is promoted, and there are more than a slate of them among the candidates.
    promoted = (answer["item_id"] - 7) // 3 % 7 == 0
    arrays = retrieved(standard)
    available = ((arrays["candidates"] >= 0) & (arrays["candidates"] % 7 == 0)).sum(axis=1)
    assert promoted.sum(axis=1).tolist() == np.minimum(available, answer["item_id"].shape[1]).tolist()


def check_reversed(standard: Chain, answer: dict) -> None:
    arrays = retrieved(standard)
    scores = np.where(arrays["candidates"] >= 0, arrays["retrieval_score"], np.inf)
    lowest = np.sort(scores, axis=1)[:, : answer["score"].shape[1]]
    assert np.allclose(answer["score"], 1 / (1 + np.exp(lowest)), atol=1e-6)


GRAPHS = {
    "without_ranker": check_without_ranker,
    "with_promotion": check_promotion,
    "with_another_ranker": check_reversed,
}


@pytest.mark.triton
@pytest.mark.slow
@pytest.mark.parametrize(
    "graph", [name if name == "with_promotion" else pytest.param(name, marks=pytest.mark.long) for name in GRAPHS]
)
def test_a_changed_graph_is_what_both_layouts_and_a_published_version_serve(world, standard, tmp_path, graph):
    import tritonclient.grpc as grpc

    from ensemble.serving.triton import TritonServer

    run, config = world
    config = drawn(config, f"tests.ensemble.graphs:{graph}")
    export(run, config)
    chain = Chain.load(run.folder("repo") / "fused/cascade/1/chain")
    expected = chain.recommend(REQUEST)
    GRAPHS[graph](standard, expected)
    names = {"without_ranker": "rank", "with_promotion": "promote", "with_another_ranker": "reversed"}
    models = {path.name for path in (run.folder("repo") / "ensemble").iterdir()}
    assert (f"cascade_{names[graph]}" in models) == (graph != "without_ranker")
    assert ("ranker" in {path.name for path in (chain_folder(run)).iterdir()}) == (graph == "with_promotion")
    for layout in ("fused", "ensemble"):
        publish(run, config, tmp_path / layout, layout)
    repositories = [run.folder("repo") / "fused", tmp_path / "ensemble"]
    if graph != "with_promotion":  # a copy serves what it is a copy of: with the graphs that `make test` leaves out
        repositories += [run.folder("repo") / "ensemble", tmp_path / "fused"]
    users = grpc.InferInput("user_id", [4, 1], "INT64")
    users.set_data_from_numpy(REQUEST["user_id"])
    for repository in repositories:
        with (
            TritonServer(repository) as server,
            contextlib.closing(grpc.InferenceServerClient(server.grpc_url.removeprefix("grpc://"))) as client,
        ):
            answer = client.infer("cascade", [users])
            for name, values in expected.items():
                assert answer.as_numpy(name).tolist() == values.tolist(), (repository, name)


def chain_folder(run: Run) -> Path:
    return run.folder("repo") / "fused/cascade/1/chain"


@pytest.mark.parametrize(
    ("graph", "sentence"),
    [
        ("order_without_scores", "order.*ranking_score"),
        ("ends_too_early", "the last operator, 'merge', does not give"),
        ("reads_the_request_twice", "the operator 'encode_again' reads the request, which 'features' alone may"),
        ("with_a_foreign_operator", "Rename.* is none that a chain can serve"),
        ("no_such_graph", "cannot be found"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused_with_the_operators_name(world, tmp_path, graph, sentence):
    run, config = world
    with pytest.raises(ConfigError, match=sentence):
        compile_chain(run, drawn(config, f"tests.ensemble.graphs:{graph}"), tmp_path / "chain", "serve")


def test_the_plan_says_what_each_node_reads_gives_and_opens(world, tmp_path):
    compile_chain(*world, tmp_path, "serve")
    nodes = json.loads((tmp_path / "plan.json").read_text())["nodes"]
    assert [node["name"] for node in nodes] == [
        *("features", "query", "towers", "neighbours", "popularity"),
        *("merge", "rank", "order"),
    ]
    rank = nodes[6]
    assert rank["step"] == "runtime.steps.rank:Rank"
    assert rank["reads"]["candidates"] == "candidates"
    assert rank["gives"] == {"ranking_score": "ranking_score"}
    assert "ranker" in rank["files"]
    present = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    for node in nodes:
        for name in node["files"]:
            assert any(path == name or path.startswith(name + "/") for path in present), name


def test_the_step_of_the_page_promotes_what_its_file_says(world, tmp_path):
    page = (Path(__file__).parents[2] / "docs/CHANGE_THE_CHAIN.md").read_text()
    code = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "class Promote" in block)
    names: dict = {}
    exec(code, names)
    compile_chain(*world, tmp_path, "serve")
    spec = ChainSpec.load(tmp_path)
    np.save(tmp_path / "boosts.npy", np.arange(spec.num_items, dtype=np.float32))
    step = names["Promote"](factor=2.0)
    step.open(tmp_path, spec)
    batch = {"candidates": np.array([[3, -1]]), "ranking_score": np.array([[0.5, 0]], np.float32)}
    assert step(batch)["ranking_score"].tolist() == [[6.5, 0.0]]
    assert [tensor.name for tensor in step.inputs(spec)] == list(batch)


def test_the_plan_without_merlin_is_the_one_that_the_graph_compiles_to(world, tmp_path):
    assert compile_chain(*world, tmp_path, "serve") == standard_plan(ChainSpec.load(tmp_path))
