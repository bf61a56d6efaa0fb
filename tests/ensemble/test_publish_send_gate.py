"""The model `cascade_gate` beside a published chain."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from cascade_client import CascadeClient
from ensemble.export.pbtxt import served_version
from ensemble.export.stage import export
from ensemble.publish import publish
from ensemble.publish_send_gate import publish_send_gate
from ensemble.serving.reload import reload_model
from ensemble.serving.repository import find_repository, has_send_gate
from ensemble.serving.triton import TritonServer
from models.send_gate.check import Check
from models.send_gate.config import NotifyConfig
from tests.ensemble.synthetic import make_run, user_id
from tests.operations.notify.made import GATE, advantage
from workflows.core.artefacts import verify
from workflows.core.errors import ArtefactError, DataError, RequestError

CONFIG, AT = NotifyConfig(explore=0.5), "2026-03-02T12:00:00+00:00"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run, config = make_run(tmp_path_factory.mktemp("gate") / "run", num_users=20, num_items=60)
    config = msgspec.structs.replace(config, chain=msgspec.structs.replace(config.chain, instances=1))
    export(run, config)
    publish(run, config, run.root / "published", "fused")
    return run.root


@pytest.fixture
def target(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published / "published", tmp_path / "published"))


def test_a_gate_is_placed_once_and_again_when_it_changes(target):
    assert not has_send_gate(target)
    assert [publish_send_gate(GATE, CONFIG, target, AT) for _ in range(2)] == [1, 0]
    assert publish_send_gate(GATE, NotifyConfig(explore=0.2), target, AT) == 2
    assert has_send_gate(find_repository(target))
    model = target / "cascade_gate"
    assert served_version((model / "config.pbtxt").read_text()) == 2
    assert verify(model / "2").info == {"version": 2, "model": "cascade_gate"}
    (model / "2/gate.json").write_text("altered")
    with pytest.raises(ArtefactError, match=r"gate\.json"):
        find_repository(target)


def test_a_gate_that_contradicts_what_chance_decided_is_not_exported(target):
    """As the check of the users who were held out found it, or with prices that are not those of its log."""
    biased = msgspec.structs.replace(GATE, check=Check(-0.15, 0.01, -0.06, 0.02, 500, 20_000))
    cheaper = msgspec.structs.replace(GATE.effects, prices=[-0.9, 1.0, 0.0, 0.0])
    for gate in (biased, msgspec.structs.replace(GATE, effects=cheaper)):
        with pytest.raises(DataError, match="lies outside what chance decided says"):
            publish_send_gate(gate, CONFIG, target, AT)
    assert not has_send_gate(target)


def test_without_a_published_chain_there_is_nothing_to_be_beside(published, tmp_path):
    for folder in (tmp_path, published / "repo/fused"):
        with pytest.raises(ArtefactError, match="serves no published chain that a send gate could be beside"):
            publish_send_gate(GATE, CONFIG, folder, AT)
        assert not (folder / "cascade_gate").exists()


def ask(url: str, **inputs: Any) -> tuple[int, dict[str, Any]]:
    """What curl would get: the status and the answer."""
    tensors = [
        {
            "name": name,
            "shape": [len(values), 1],
            "datatype": "BYTES" if name == "decision_id" else "FP64",
            "data": values,
        }
        for name, values in inputs.items()
    ]
    body = json.dumps({"inputs": tensors}).encode()
    try:
        with urllib.request.urlopen(f"{url}/v2/models/cascade_gate/infer", body, timeout=30) as response:
            return response.status, {each["name"]: each["data"] for each in json.load(response)["outputs"]}
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.triton
@pytest.mark.slow
def test_a_server_decides_beside_its_chain(target):
    publish_send_gate(GATE, CONFIG, target, AT)
    scores = [-1.0, 0.0, 2.0]
    with TritonServer(target) as server, CascadeClient(server.grpc_url) as client:
        status, found = ask(server.http_url, score=scores)
        assert status == 200
        np.testing.assert_allclose(found["advantage"], advantage(np.array(scores)), atol=1e-12)
        assert (found["send"], found["reason"]) == ([False, False, True], ["not_worth", "not_worth", "worth"])
        _, priced = ask(server.http_url, score=scores, send_price=[0.5] * 3)
        assert priced["reason"] == ["not_worth", "not_worth", "price"]
        _, drawn = ask(server.http_url, score=[2.0] * 400, decision_id=[f"push-{row}" for row in range(400)])
        assert set(drawn["propensity"]) == {0.75}
        assert 0.65 < np.mean(drawn["send"]) < 0.85
        assert ask(server.http_url, score=[2.0] * 400, decision_id=[f"push-{row}" for row in range(400)])[1] == drawn
        status, refused = ask(server.http_url, score=[1.0], send_price=[1e400])
        assert status == 400 and "send_price" in refused["error"]
        assert client.recommend([user_id(3, False)])[0].item_ids
        check_reload(server, target)


def check_reload(server: TritonServer, target: Path) -> None:
    """A running server takes the next gate, and keeps the one it has where the next cannot be loaded."""

    def propensity() -> list[float]:
        return list(ask(server.http_url, score=[2.0], decision_id=["push-1"])[1]["propensity"])

    assert publish_send_gate(GATE, NotifyConfig(explore=0.2), target, AT) == 2
    assert propensity() == [0.75]
    assert reload_model(server.grpc_url, server.admin_key) == ("1", "2", [])
    assert propensity() == [0.9]
    assert publish_send_gate(GATE, NotifyConfig(explore=0.4), target, AT) == 3
    (target / "cascade_gate/3/gate.json").write_text("altered")
    with pytest.raises(RequestError, match=r"3/gate\.json does not match its checksum in the manifest"):
        reload_model(server.grpc_url, server.admin_key)
    (target / "cascade_gate/3/manifest.json").unlink()
    with pytest.raises(RequestError, match=r"cannot be opened.* JSONDecodeError"):
        reload_model(server.grpc_url, server.admin_key)
    assert propensity() == [0.9]
    assert publish_send_gate(GATE, NotifyConfig(explore=0.6), target, AT) == 4
    assert reload_model(server.grpc_url, server.admin_key).gate == "4"
    assert propensity() == [0.7]


@pytest.mark.triton
@pytest.mark.long
def test_a_server_that_started_without_a_gate_takes_the_first(target):
    with TritonServer(target) as server:
        assert reload_model(server.grpc_url, server.admin_key).gate == ""
        publish_send_gate(GATE, CONFIG, target, AT)
        assert reload_model(server.grpc_url, server.admin_key).gate == "1"
        assert ask(server.http_url, score=[2.0])[1]["send"] == [True]
