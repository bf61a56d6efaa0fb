"""The client's examples of docs/, as they stand there, against real servers of small chains."""

from __future__ import annotations

import ast
import contextlib
import io
import math
import re
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from cascade_client import CascadeClient
from ensemble.config import ChainConfig
from ensemble.config_file import load_overrides
from ensemble.config_order import OrderConfig
from ensemble.export.stage import export
from ensemble.publish import publish
from ensemble.serving.repository import find_repository
from ensemble.serving.triton import TritonServer
from operations.experiments.release import Servers, start, stop
from scripts.cli import app
from tests.ensemble.synthetic import make_run, user_id
from tests.scripts.code_blocks import Block, blocks, commands
from workflows.stream.config import StreamConfig

pytestmark = [pytest.mark.triton, pytest.mark.slow, pytest.mark.timeout(180)]

DOCS = Path(__file__).parents[2] / "docs"
CHAIN = ChainConfig(num_candidates=40, slate_size=10, max_slate_size=30, instances=1, layouts=("fused",))
KNOWN = user_id(17, False)


def of_page(name: str, language: str, words: str = "") -> list[Block]:
    """The blocks of a page in which some words are, in their order."""
    found = blocks(name, (DOCS / name).read_text())
    return [block for block in found if block.language == language and words in block.code]


def executed(block: Block, url: str) -> tuple[dict[str, Any], list[str]]:
    """What a block makes with this server, and the lines that it prints; its user 17 is one whom the chain knows."""
    code, num_users = re.subn(r"\b17\b", str(KNOWN), block.code)
    assert num_users and "localhost:8001" in code
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(code.replace("localhost:8001", url), block.place, "exec"), names)
    return names, said.getvalue().splitlines()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, TritonServer]]:
    """A folder with runs/shop as the pages have it, whose chain draws slates and knows live events, and its server."""
    root = tmp_path_factory.mktemp("pages")
    order = OrderConfig(explore="softmax", temperature=0.3, share=0.05)
    run, plain = make_run(root / "runs/shop", chain=msgspec.structs.replace(CHAIN, order=order))
    export(run, msgspec.structs.replace(plain, stream=StreamConfig()))
    with TritonServer(find_repository(run.root, "fused"), events=run.root / "events") as server:
        yield root, server


def test_operations(shop: tuple[Path, TritonServer]) -> None:
    [block] = of_page("OPERATIONS.md", "python")
    with CascadeClient(shop[1].grpc_url) as client:
        names: dict[str, Any] = {"client": client}
        # Its shop has users called "u1"; this one has numbers.
        exec(block.code.replace('"u1"', str(KNOWN)), names)
    assert len(names["slates"].slates[0].item_ids) == CHAIN.slate_size and len(names["slates"].request_id) >= 16


def test_the_readme_of_the_client(shop: tuple[Path, TritonServer]) -> None:
    [block] = of_page("../client/README.md", "python", "client.send(")
    _, said = executed(block._replace(code=f"from cascade_client import CascadeClient\n{block.code}"), shop[1].grpc_url)
    [(new, nothing), (refused, reason)] = ast.literal_eval(said[0])
    assert (new, nothing, refused) == ("new", "", "refused") and reason


def test_exploration() -> None:
    [block] = of_page("EXPLORATION.md", "python")
    scores, temperature = np.array([0.3, -1.0, 1.2, 0.1]), 0.7
    *imports, call = block.code.strip().splitlines()
    total = 0.0
    for places in permutations(range(4), 2):
        names: dict[str, Any] = {"candidate_scores": scores, "places": np.array(places), "temperature": temperature}
        exec("\n".join([*imports, f"found = {call}"]), names)
        weights = np.exp(scores / temperature)
        first = weights[places[0]] / weights.sum()
        second = weights[places[1]] / (weights.sum() - weights[places[0]])
        np.testing.assert_allclose(names["found"], np.log([first, second]))
        total += math.exp(names["found"].sum())
    assert total == pytest.approx(1.0)


def test_slates(shop: tuple[Path, TritonServer], monkeypatch: pytest.MonkeyPatch) -> None:
    root, server = shop
    monkeypatch.chdir(root)
    for words in commands(of_page("SLATES.md", "bash")[0].code):
        asks = ["--url", server.grpc_url] if words[1:3] == ["slates", "build"] else []
        done = CliRunner().invoke(app, [*words[1:], *asks])
        assert done.exit_code == 0, done.output
    names, _ = executed(of_page("SLATES.md", "python")[0], server.grpc_url)
    with names["cache"] as cache, CascadeClient(server.grpc_url) as client:
        shown = names["slate"].item_ids
        assert names["slate"].path == "cache" and len(set(shown)) == 20
        [outcome] = client.send([{"user_id": KNOWN, "item_id": shown[0]}])
        assert outcome.status == "new"
        assert shown[0] not in cache.recommend([KNOWN], slate_size=20)[0].item_ids


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, TritonServer]]:
    """A folder with triton_repo, runs/shop that it serves and runs/margin, and its server."""
    root = tmp_path_factory.mktemp("experiments")
    for name, seed in (("shop", 0), ("margin", 1)):
        run, config = make_run(root / "runs" / name, seed=seed, chain=CHAIN)
        export(run, config)
        if name == "shop":
            publish(run, config, root / "triton_repo", "fused")
    with TritonServer(root / "triton_repo") as server:
        yield root, server


@pytest.mark.parametrize("kind", ["split", "interleave"])
def test_experiments(published: tuple[Path, TritonServer], kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root, server = published
    monkeypatch.chdir(root)
    examples = of_page("EXPERIMENTS.md", "python", "CascadeClient(")
    section = of_page("EXPERIMENTS.md", "toml")[kind == "interleave"].code
    # All users at once, so that it does not depend on its draw whether this one is in it.
    (root / "shop.toml").write_text(section.replace("[0.01, 0.05, 0.2, 0.5, 1.0]", "[1.0]").replace("0.05", "1.0"))
    servers = Servers([server.grpc_url], server.admin_key, drain_s=0.0)
    start(load_overrides([], root / "shop.toml"), "margin", root / "triton_repo", "fused", servers)
    try:
        names, said = executed(examples[kind == "interleave"], server.grpc_url)
    finally:
        stop(root / "triton_repo", "margin", servers)
    slate = names["slate"]
    assert len(slate.item_ids) == CHAIN.slate_size
    if kind == "split":
        assert said in (["margin=margin"], ["margin=control"])
    else:
        assert said == ["margin=both both", str(slate.team)] and set(slate.team) <= {-1, 0, 1} and 1 in slate.team
