"""A repository that is exported for GPUs: its files, and what a model of it does in a server."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ensemble.config import ChainConfig
from ensemble.export.stage import export
from runtime import triton
from runtime.device import plan as device_plan
from runtime.device.device import NoDevice, stand_in
from tests.ensemble.synthetic import make_run, user_id
from tests.runtime.device.test_chain import requests, same

CHAIN = ChainConfig(num_candidates=30, slate_size=5, max_slate_size=20, device="gpu", queue_delay_us=300)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run, config = make_run(tmp_path_factory.mktemp("device") / "run", chain=CHAIN)
    export(run, config)
    return run.folder("repo")


def test_heavy_models_are_placed_on_gpus(repository: Path) -> None:
    texts = {path.parent.name: path.read_text() for path in repository.glob("*/*/config.pbtxt")}
    heavy = {"cascade", "cascade_retrieve", "cascade_rank"}
    for name, text in texts.items():
        if 'platform: "ensemble"' not in text and "events" not in name:
            assert ("kind: KIND_GPU count: 1" in text) == (name in heavy), name
    assert "max_queue_delay_microseconds: 300" in (repository / "fused/cascade/config.pbtxt").read_text()
    assert (repository / "fused/cascade/1/lib/runtime/device/kernels.cu").is_file()


def model(repository: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> Any:
    """The fused model as the Python backend starts it on the first GPU."""
    logger = SimpleNamespace(log_warn=said.append, log_error=said.append, log_info=said.append)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", SimpleNamespace(Logger=logger))
    inputs = [{"name": "user_id", "data_type": "TYPE_INT64"}]
    config = {"input": inputs, "output": [], "parameters": {"step": {"string_value": "chain"}}}
    started = triton.TritonPythonModel()
    started.initialize(
        {
            "model_config": triton.json.dumps(config),
            "model_repository": str(repository / "fused/cascade"),
            "model_version": "1",
            "model_instance_kind": "GPU",
            "model_instance_device_id": "0",
        }
    )
    return started


def test_a_model_on_a_gpu_answers_as_on_the_cpu(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(device_plan, "cupy_device", lambda number: stand_in())
    on_gpu = model(repository, monkeypatch, said)
    assert said == []

    def gone(number: int) -> Any:
        raise NoDevice("there is no GPU 0: CuPy sees 0")

    monkeypatch.setattr(device_plan, "cupy_device", gone)
    on_cpu = model(repository, monkeypatch, said)
    assert said == ["the chain was exported for a GPU and runs on the CPU: there is no GPU 0: CuPy sees 0"]
    asked = [
        *requests(False),
        {"user_id": np.array([[user_id(2, False)]])},
        {"user_id": np.array([["no number"]], object)},
    ]
    for here, there in zip(on_cpu._answer(asked), on_gpu._answer(asked), strict=True):
        if isinstance(here, dict):
            same(here, there)
        else:
            assert str(here) == str(there)
