"""The layout `merlin`: the same candidates, probabilities and order as the other layouts, and what it cannot do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cascade_client import CascadeClient, RequestRefused
from cascade_client.tensors import encode_context
from ensemble.export.compile import compile_chain
from ensemble.serving.triton import TritonServer
from runtime.chain import Chain
from tests.ensemble.merlin_worlds import COLUMNS, NUM_CANDIDATES, text_world, typed_world
from workflows.core.quiet import quiet

quiet()

from ensemble.merlin.artefacts import num_searched, prepare, write_index  # noqa: E402
from ensemble.merlin.export import write_merlin  # noqa: E402
from ensemble.merlin.graph import merlin_ensemble  # noqa: E402
from ensemble.merlin.parity import TOLERANCE, ask, difference  # noqa: E402
from ensemble.merlin.request import null_input  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.long]
TYPED, TEXT = "typed", "text"


class World:
    """A trained run, its compiled chain and the layout's graph."""

    def __init__(self, root: Path, kind: str) -> None:
        self.root, self.kind = root, kind
        self.run, self.config = typed_world(root) if kind == TYPED else text_world(root)
        compile_chain(self.run, self.config, root / "chain", "serve")
        prepare(self.run, self.config, root / "chain", root / "artefacts")
        self.graph = merlin_ensemble(self.run, root / "artefacts")
        self.chain = Chain.load(root / "chain")
        self.users = np.load(self.run.folder("data") / "ids/users.npy").tolist()

    def user(self, value: Any) -> dict[str, np.ndarray]:
        """The input user_id."""
        return {"user_id": np.array([[value]], object if self.kind == TEXT else np.int64)}

    def context(self, number: int) -> dict[str, np.ndarray]:
        """One of the values of every context column, and null now and then."""
        inputs = {}
        for tensor in self.chain.spec.context_columns:
            pool = [*COLUMNS[tensor.name][2], None]
            value = pool[(number * 7 + len(inputs)) % len(pool)]
            inputs[tensor.name] = encode_context(tensor.name, [value], tensor.dtype).array
        return inputs

    def nulls(self) -> dict[str, np.ndarray]:
        """Every context column left out."""
        return {tensor.name: null_input(tensor.numpy_dtype) for tensor in self.chain.spec.context_columns}


@pytest.fixture(scope="module", params=[TYPED, TEXT])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("merlin"), request.param)


def test_known_users_have_the_candidates_probabilities_and_order_of_the_chain(world: World) -> None:
    counts = set()
    for number, user in enumerate(world.users[::5]):
        for context in (world.context(number), world.nulls()):
            request = {**world.user(user), **context}
            wanted = world.chain.recommend(request)
            assert difference(ask(world.graph, request), wanted, exact=True) == "", user
            counts.add(int(wanted["num_items"][0, 0]))
    assert max(counts) == NUM_CANDIDATES


def test_the_search_finds_enough_beside_what_the_filter_drops(world: World) -> None:
    spec, seen = world.chain.spec, np.diff(np.load(world.root / "chain/state/seen_indptr.npy"))
    assert seen.max() > 0
    hidden = num_searched(world.root / "artefacts") - NUM_CANDIDATES
    if world.kind == TEXT:
        assert hidden == 0
    else:
        assert hidden == min(int(seen.max()) + 60 - _num_eligible(world), spec.num_items - NUM_CANDIDATES)


def _num_eligible(world: World) -> int:
    return int(np.load(world.root / "artefacts/eligible.npy").sum())


def test_an_unknown_user_is_answered_from_the_context_and_refused_without(world: World) -> None:
    unknown = world.user("nobody" if world.kind == TEXT else 10**12)
    with pytest.raises(ValueError, match="has nothing for an unknown user without context"):
        ask(world.graph, {**unknown, **world.nulls()})
    if world.kind == TYPED:
        for number in range(3):
            request = {**unknown, **world.context(number)}
            wanted = world.chain.recommend(request)
            answer = ask(world.graph, request)
            assert difference(answer, wanted, exact=True) == ""
            assert answer["path"][0, 0] == wanted["path"][0, 0].decode() == "context"


def test_a_user_to_whom_nothing_may_be_shown_gets_an_empty_slate(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.root / "artefacts", tmp_path / "artefacts")
    nothing = np.zeros(world.chain.spec.num_items, bool)
    np.save(tmp_path / "artefacts/eligible.npy", nothing)
    np.save(tmp_path / "artefacts/chain/eligible.npy", np.packbits(nothing))
    graph = merlin_ensemble(world.run, tmp_path / "artefacts")
    answer = ask(graph, {**world.user(world.users[0]), **world.nulls()})
    assert answer["num_items"].tolist() == [[0]] and not answer["score"].any()
    assert set(answer["item_id"][0].tolist()) == ({""} if world.kind == TEXT else {-1})


def test_a_difference_is_found() -> None:
    def slate(*pairs: tuple[int, float]) -> dict[str, np.ndarray]:
        ids, scores = zip(*pairs, strict=True)
        return {"item_id": np.array([ids]), "score": np.array([scores]), "num_items": np.array([[len(ids)]])}

    wanted = slate((4, 0.9), (7, 0.5), (2, 0.5 - TOLERANCE / 2))
    assert difference(slate((4, 0.9), (2, 0.5), (7, 0.5)), wanted, exact=True) == ""
    assert difference(slate((4, 0.9), (7, 0.5), (9, 0.5)), wanted, exact=True) == ""
    assert "item 7" in difference(slate((4, 0.9), (7, 0.5 + 3 * TOLERANCE), (2, 0.5)), wanted, exact=False)
    assert "place 3" in difference(slate((4, 0.9), (7, 0.5), (9, 0.4)), wanted, exact=True)
    assert difference(slate((4, 0.9), (7, 0.5), (9, 0.4)), wanted, exact=False) == ""
    assert "2 items instead of 3" in difference(slate((4, 0.9), (7, 0.5)), wanted, exact=True)


@pytest.fixture(scope="module")
def server(world: World) -> Iterator[TritonServer]:
    """The served layout, while what it was made from is out of its reach."""
    repository = world.root / "served"
    write_merlin(world.run, world.config, world.root / "chain", repository)
    aside = world.root / "aside"
    world.run.root.rename(aside)
    try:
        with TritonServer(repository) as started:
            yield started
    finally:
        aside.rename(world.run.root)
        shutil.rmtree(repository)


@pytest.mark.triton
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_it_is_served_alone_and_says_what_it_cannot_do(world: World, server: TritonServer, protocol: str) -> None:
    users = [value.decode() if isinstance(value, bytes) else value for value in world.users]
    with CascadeClient(getattr(server, f"{protocol}_url")) as client:
        assert set(client.inputs) == {"user_id", *(t.name for t in world.chain.spec.context_columns)}
        for number, user in enumerate(users[:2]):
            context = {name: values[0].tolist() for name, values in world.context(number).items()}
            (slate,) = client.recommend([user], context=context)
            assert slate.path == "known_user"
            wanted = world.chain.recommend({**world.user(world.users[number]), **world.context(number)})
            ids, count = np.array([slate.item_ids], object), np.array([[len(slate.item_ids)]])
            got = {"item_id": ids, "score": np.array([slate.scores]), "num_items": count}
            assert difference(got, wanted, exact=True) == ""
            # What is left out is null, as in the other layouts.
            (bare,) = client.recommend([user])
            local = ask(world.graph, {**world.user(world.users[number]), **world.nulls()})
            assert bare.item_ids == local["item_id"][0, : len(bare.item_ids)].tolist()
        with pytest.raises(RequestRefused, match="answers one user a request, got 2; ask one by one"):
            client.recommend(users[:2])
        with pytest.raises(RequestRefused, match="has nothing for an unknown user without context"):
            client.recommend(["nobody" if world.kind == TEXT else 10**12])
        for name, given in (("recent_item_ids", [[1]]), ("exclude_item_ids", [[1]]), ("slate_size", 3)):
            with pytest.raises(RequestRefused, match=f"takes no input '{name}'"):
                client.recommend(users[:1], **{name: given})


@pytest.mark.parametrize("kind", ["exact", "ivf", "ivf_fastscan", "hnsw"])
def test_the_index_is_searched_as_thoroughly(tmp_path: Path, kind: str) -> None:
    import faiss
    from merlin.systems.dag.ops.faiss import QueryFaiss
    from merlin.table import TensorTable

    from models.index.factory import build
    from tests.ensemble.synthetic import make_run

    run, config = make_run(tmp_path / "run", num_items=600)
    compile_chain(run, config, tmp_path / "chain", "serve")
    embeddings = np.load(run.folder("retrieval") / "item_embeddings.npy")
    np.save(tmp_path / "item_embeddings.npy", embeddings)
    np.save(tmp_path / "eligible.npy", np.ones(len(embeddings), bool))
    _set_index(tmp_path / "chain/chain.json", {"kind": kind, "nprobe": 15, "ef_search": 600})
    if kind != "exact":
        faiss.write_index(build(kind, embeddings), str(tmp_path / "built.faiss"))
    write_index(tmp_path / "built.faiss", tmp_path)
    operator = QueryFaiss(tmp_path / "index.faiss", topk=20)
    operator.load_artifacts("")
    query = embeddings[:1] + 0.1
    found = operator.transform(None, TensorTable({"query": query}))["candidate_ids"].values
    best = np.argsort(-(embeddings @ query[0]))[:20]
    assert np.isin(found, best).mean() >= 0.9


def _set_index(path: Path, values: dict[str, Any]) -> None:
    import json

    record = json.loads(path.read_text())
    record["index"].update(values)
    path.write_text(json.dumps(record))
