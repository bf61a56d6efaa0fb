"""The model `cascade_events` in repositories: exported with [stream] alone, published when it changes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from cascade_client import CascadeClient
from ensemble.config import Config
from ensemble.export.events_model import write_events_model
from ensemble.export.pbtxt import served_version
from ensemble.export.stage import export
from ensemble.publish import publish, rollback
from ensemble.serving.reload import reload_model
from ensemble.serving.repository import events_folder, find_repository, takes_events
from ensemble.serving.server import serve
from ensemble.serving.triton import TritonServer
from runtime.spec import ChainSpec, LiveSpec
from runtime.stream.spec import StreamSpec
from runtime.tensor import Tensor
from tests.ensemble.synthetic import make_run, sign_again, user_id
from workflows.core.artefacts import read_manifest, write_manifest
from workflows.core.errors import ArtefactError, RequestError, ServingError
from workflows.core.run import Run
from workflows.stream.config import StreamConfig

LAYOUTS = ("fused", "ensemble")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Config]:
    run, config = make_run(tmp_path_factory.mktemp("live") / "run", num_users=20, num_items=60)
    config = msgspec.structs.replace(config, stream=StreamConfig(dedupe_last=32))
    export(run, config)
    return run, config


def model_version(target: Path) -> int:
    return served_version((target / "cascade_events/config.pbtxt").read_text())


def test_both_layouts_have_the_model_and_its_stream(exported: tuple[Run, Config]) -> None:
    for layout in LAYOUTS:
        repository = find_repository(exported[0].root, layout)
        assert takes_events(repository)
        spec = StreamSpec.load(repository / "cascade_events/1")
        assert (spec.dedupe_last, spec.stock, spec.labels) == (32, "in_stock", ("click",))
        config = (repository / "cascade_events/config.pbtxt").read_text()
        assert 'input { name: "in_stock" data_type: TYPE_BOOL dims: [ 1 ] optional: true }' in config
        assert "count: 1 }" in config
        assert events_folder(exported[0].root, repository) == exported[0].root / "events"
        assert events_folder(repository, repository) == exported[0].root / "events"


def test_a_chain_without_a_stream_has_no_such_model(exported: tuple[Run, Config], tmp_path: Path) -> None:
    spec = ChainSpec.load(exported[0].folder("repo") / "fused/cascade/1/chain")
    replace(spec, live=None).save(tmp_path)
    write_events_model(tmp_path, tmp_path / "repository")
    assert not (tmp_path / "repository").exists()
    shutil.copytree(exported[0].folder("repo") / "fused", tmp_path / "without/fused")
    shutil.rmtree(tmp_path / "without/fused/cascade_events")
    manifest = read_manifest(exported[0].folder("repo"))
    write_manifest(tmp_path / "without", msgspec.structs.replace(manifest, files=[]))
    with pytest.raises(ServingError, match=r"--events was given, and .* takes no events; add \[stream\] to the config"):
        serve(tmp_path / "without", events=tmp_path / "events")


def test_a_context_column_called_like_a_field_of_events_travels_in_extra(
    exported: tuple[Run, Config], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ChainSpec.load(exported[0].folder("repo") / "fused/cascade/1/chain")
    assert spec.live is not None
    context = tuple(Tensor(name, "BYTES") for name in ("label", "device", "value", "in_stock"))
    replace(spec, live=LiveSpec(replace(spec.live.stream, context=context))).save(tmp_path)
    write_events_model(tmp_path, tmp_path / "fused")
    said = "fused: a live event carries the context label, value, in_stock in its `extra`, since a field of events has"
    assert said in capsys.readouterr().err.replace("\n", " ")
    config = (tmp_path / "fused/cascade_events/config.pbtxt").read_text()
    assert config.count('"label"') == config.count('"value"') == config.count('"in_stock"') == 1
    assert '"device"' in config


def test_publish_places_it_once_and_again_when_it_changes(exported: tuple[Run, Config], tmp_path: Path) -> None:
    run, config = exported
    target = tmp_path / "published"
    assert [publish(run, config, target, layout) for layout in LAYOUTS] == [1, 2]
    assert model_version(target) == 1
    # A server leaves bytecode behind, which is no change.
    (target / "cascade_events/1/lib/__pycache__").mkdir()
    (target / "cascade_events/1/lib/__pycache__/a.pyc").write_bytes(b"")
    for version in (2, 3):
        for layout in LAYOUTS:
            stream = run.folder("repo") / layout / "cascade_events/1/stream.json"
            stream.write_text(f"{stream.read_text()} ")
        sign_again(run)
        publish(run, config, target, "fused")
        assert model_version(target) == version
    # The one that a running server may have started with stays.
    assert sorted(path.name for path in (target / "cascade_events").iterdir()) == ["2", "3", "config.pbtxt"]
    rollback(target)
    assert model_version(target) == 3
    assert events_folder(target, find_repository(target)) == tmp_path / "published-events"
    (target / "cascade_events/2/stream.json").write_text("not served, so not checked")
    find_repository(target)
    (target / "cascade_events/3/stream.json").write_text("altered")
    with pytest.raises(ArtefactError, match=r"stream\.json"):
        find_repository(target)


@pytest.mark.triton
@pytest.mark.slow
@pytest.mark.parametrize("layout", ["fused", pytest.param("ensemble", marks=pytest.mark.long)])
def test_a_version_that_would_know_no_live_event_is_not_loaded(
    tmp_path: Path, layout: Literal["fused", "ensemble"]
) -> None:
    run, config = make_run(tmp_path / "run", num_users=20, num_items=60)
    chain = msgspec.structs.replace(config.chain, layouts=(layout,), instances=1)
    target, user = tmp_path / "published", user_id(3, False)

    def published(dedupe_last: int) -> None:
        changed = msgspec.structs.replace(config, chain=chain, stream=StreamConfig(dedupe_last=dedupe_last))
        export(run, changed)
        publish(run, changed, target, layout)

    published(32)
    with TritonServer(target, events=tmp_path / "events") as server, CascadeClient(server.grpc_url) as client:
        client.send([{"user_id": user, "item_id": client.recommend([user])[0].item_ids[0]}])
        published(16)
        with pytest.raises(RequestError, match=r"keeps other things of live events .* start the server again"):
            reload_model(server.grpc_url, server.admin_key)
        before = client.recommend([user])[0]
        rollback(target)
        reload_model(server.grpc_url, server.admin_key)
        again = client.recommend([user])[0]
        assert (again.item_ids, again.stream_offset) == (before.item_ids, 1)
        published(16)
    with TritonServer(target, events=tmp_path / "events") as server, CascadeClient(server.grpc_url) as client:
        assert client.recommend([user])[0].item_ids == before.item_ids
        assert client.recommend([user])[0].stream_offset == before.stream_offset == 1
