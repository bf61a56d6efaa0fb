"""Variants on a real server that starts, ends and starts again: none of them is missed, and none is in the way."""

from __future__ import annotations

import shutil
import urllib.request
from pathlib import Path

import pytest

from cascade_client import CascadeClient, CascadeClientError
from ensemble.export.stage import export
from ensemble.publish import publish
from ensemble.serving.triton import TritonServer
from ensemble.variants import model_of, write_experiments
from tests.ensemble.synthetic import make_run, user_id

pytestmark = [pytest.mark.triton, pytest.mark.slow, pytest.mark.long]


def name(target: Path, *versions: int) -> None:
    """Make the file of experiments name versions."""
    variants = [{"model": ""}, *({"model": model_of(version)} for version in versions)]
    write_experiments(target, {"experiments": [{"variants": variants}]})


def answers(server: TritonServer, version: int) -> bool:
    with CascadeClient(server.grpc_url, model=model_of(version), retry=None) as client:
        try:
            return len(client.recommend([user_id(3, False)])) == 1
        except CascadeClientError:
            return False


def test_a_server_has_the_variants_of_now_whenever_it_starts(tmp_path, capsys) -> None:
    run, config = make_run(tmp_path / "run", num_users=20, num_items=60)
    export(run, config)
    target = tmp_path / "published"
    publish(run, config, target, "fused")
    versions: list[int] = []
    for _ in range(4):
        publish(run, config, target, "fused", beside=lambda version: name(target, *[*versions, version]))
        versions.append(max(versions, default=1) + 1)
    # One is altered, one does not load, and of one the files are gone.
    (target / "cascade/3/model.py").write_text("pass\n")
    (target / "cascade_v4/config.pbtxt").write_text("no config")
    shutil.rmtree(target / "cascade/5")
    with TritonServer(target) as server:
        with urllib.request.urlopen(server.http_url + "/v2/health/ready", timeout=60) as ready:
            assert ready.status == 200
        assert [answers(server, version) for version in versions] == [True, False, False, False]
        said = capsys.readouterr().err
        assert all(
            f"without cascade_v{version}, whose users are served as all others are" in said for version in (3, 4, 5)
        )
        # Ended meanwhile, and another one begun: that is what a server that was started before them has.
        new = publish(run, config, target, "fused", beside=lambda version: name(target, version))
        server.restart()
        assert server.wait_ready()
        assert answers(server, new) and not answers(server, 2)
        # A file that is cut off ends the experiments and no server.
        (target / "experiments.json").write_text('{"format": 1, "exper')
        server.restart()
        assert server.wait_ready() and "without the experiments" in capsys.readouterr().err
        with CascadeClient(server.grpc_url) as client:
            assert len(client.recommend([user_id(3, False)])) == 1
