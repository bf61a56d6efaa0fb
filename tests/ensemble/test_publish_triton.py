"""A published version swaps in, and out again, under a running server: nobody is left without an answer."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from ensemble.export.pbtxt import served_version
from ensemble.export.stage import export
from ensemble.publish import publish, rollback
from ensemble.serving.reload import reload_model
from runtime.plan import Plan
from tests.ensemble.serving.processes import eventually
from tests.ensemble.synthetic import make_run, user_id
from workflows.core.errors import RequestError, ServingError

pytestmark = [pytest.mark.triton, pytest.mark.slow]


@pytest.mark.parametrize("layout", ["fused", pytest.param("ensemble", marks=pytest.mark.long)])
def test_a_version_swaps_in_and_out_under_traffic(tmp_path, layout):
    import tritonclient.grpc as grpc

    from ensemble.serving.triton import TritonServer

    run, config = make_run(tmp_path / "run", num_users=20, num_items=60)
    export(run, config)
    target = tmp_path / "published"
    publish(run, config, target, layout)
    models = Plan.load(run.folder("repo") / "fused/cascade/1/chain").models
    users = grpc.InferInput("user_id", [1, 1], "INT64")
    users.set_data_from_numpy(np.array([[user_id(4, False)]]))
    stop, answers, errors = threading.Event(), [], []

    def ask(client):
        while not stop.is_set():
            try:
                answers.append(client.infer("cascade", [users]).as_numpy("item_id").tolist())
            except Exception as error:
                errors.append(str(error))

    with (
        TritonServer(target) as server,
        grpc.InferenceServerClient(server.grpc_url.removeprefix("grpc://")) as client,
    ):
        traffic = threading.Thread(target=ask, args=(client,))
        traffic.start()
        try:
            for change, version in ((lambda: publish(run, config, target, layout), 2), (lambda: rollback(target), 1)):
                assert change() == version
                served, _, unloaded = reload_model(server.grpc_url, server.admin_key)
                assert served == str(version)
                index = client.get_model_repository_index(headers=server.admin_headers).models
                ready = {(model.name, model.version) for model in index if model.state == "READY"}
                steps = {f"cascade_v{version}_{model}" for model in models} if layout == "ensemble" else set()
                assert ready == {("cascade", str(version)), *((step, "1") for step in steps)}
                assert unloaded == sorted(step.replace(f"_v{version}_", f"_v{3 - version}_") for step in steps)
                assert served_version((target / "cascade/config.pbtxt").read_text()) == version
                known = len(answers)
                eventually(lambda known=known: len(answers) > known)
            with pytest.raises(ServingError, match="refused the admin key; set CASCADE_ADMIN_KEY"):
                reload_model(server.grpc_url, "another key")
            # A step that cannot be opened costs nothing: not the served ensemble, not the server's readiness.
            publish(run, config, target, layout)
            step = "cascade_v3_rank/1" if layout == "ensemble" else "cascade/3"
            (target / step / "model.py").write_text("raise ValueError('broken')\n")
            with pytest.raises(RequestError, match=r"model\.py does not match its checksum in the manifest"):
                reload_model(server.grpc_url, server.admin_key)
            ((target / step).parent if layout == "ensemble" else target / step).joinpath("manifest.json").unlink()
            with pytest.raises(RequestError, match=r"cannot be opened.* ValueError: broken"):
                reload_model(server.grpc_url, server.admin_key)
            eventually(client.is_server_ready)
            (target / "cascade" / "config.pbtxt").write_text("broken")
            with pytest.raises(RequestError):
                reload_model(server.grpc_url, server.admin_key)
        finally:
            stop.set()
            traffic.join()
    assert errors == []
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.long
def test_an_ensemble_that_triton_dropped_is_brought_back(tmp_path, monkeypatch):
    import tritonclient.grpc as grpc

    from ensemble.serving.triton import TritonServer

    run, config = make_run(tmp_path / "run", num_users=20, num_items=60)
    export(run, config)
    target = tmp_path / "published"
    publish(run, config, target, "ensemble")
    monkeypatch.setattr("ensemble.serving.reload.rehearse", lambda control: None)
    with (
        TritonServer(target) as server,
        grpc.InferenceServerClient(server.grpc_url.removeprefix("grpc://")) as client,
    ):
        publish(run, config, target, "ensemble")
        (target / "cascade_v2_rank" / "1" / "model.py").write_text("raise ValueError('broken')\n")
        with pytest.raises(RequestError, match="ValueError: broken"):
            reload_model(server.grpc_url, server.admin_key)
        assert client.is_model_ready("cascade", "1")
        eventually(client.is_server_ready)
