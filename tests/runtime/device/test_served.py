"""A repository that is exported for GPUs: its files, and what a model of it does in a server."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest

from ensemble.config import ChainConfig
from ensemble.export.compile import compile_chain
from ensemble.export.stage import export
from runtime import triton
from runtime.device import plan as device_plan
from runtime.device.device import Device, NoDevice, stand_in
from runtime.device.memory import search_bytes
from runtime.device.plan import on_device
from runtime.device.rank import DeviceRank
from runtime.device.retrieve import Retrieve
from runtime.spec import ChainSpec
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


class Refused(Exception):
    """What a model raises that Triton must not serve."""


def model(repository: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> Any:
    """The fused model as the Python backend starts it on the first GPU."""
    logger = SimpleNamespace(log_warn=said.append, log_error=said.append, log_info=said.append)
    utils = SimpleNamespace(Logger=logger, TritonModelException=Refused)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", utils)
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


def test_a_model_that_does_not_fit_is_refused_or_answers_on_the_cpu(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = replace(stand_in(), name="a small card", free_bytes=lambda: 200 << 20)
    monkeypatch.setattr(device_plan, "cupy_device", lambda number: small)
    with pytest.raises(
        Refused, match=r"0\.\d\d GiB of a small card are needed and 0\.20 GiB are free: chain\.device_precision"
    ):
        model(repository, monkeypatch, [])
    said: list[str] = []
    copy = Path(shutil.copytree(repository, tmp_path / "repo"))
    chain = copy / "fused/cascade/1/chain"
    replace(ChainSpec.load(chain), device_or_cpu=True).save(chain)
    answered = model(copy, monkeypatch, said)
    assert len(said) == 1 and said[0].startswith("the chain was exported for a GPU and runs on the CPU: 0.")
    asked = requests(False)
    monkeypatch.setattr(device_plan, "cupy_device", lambda number: stand_in())
    for here, there in zip(answered._answer(asked), model(repository, monkeypatch, [])._answer(asked), strict=True):
        same(here, there)


def test_a_card_that_runs_full_is_one_sentence(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(array: Any) -> Any:
        raise MemoryError("Out of memory allocating 512 bytes")  # CuPy's is a MemoryError as well

    device = replace(stand_in(), to_host=full)
    monkeypatch.setattr(device_plan, "cupy_device", lambda number: device)
    monkeypatch.setattr(type(device), "put", lambda self, array, dtype=None: full(array))
    with pytest.raises(Refused, match="Out of memory"):
        model(repository, monkeypatch, [])


@pytest.mark.parametrize("gathered", [False, True])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_the_memory_that_is_needed_is_that_of_the_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gathered: bool, precision: Literal["float32", "float16"]
) -> None:
    chain = ChainConfig(num_candidates=30, device="gpu", max_batch_size=1, device_precision=precision)
    run, config = make_run(tmp_path / "run", num_items=20_000, further=True, gathered=gathered, chain=chain)
    plan = compile_chain(run, config, tmp_path / "chain", "serve")
    spec, put = ChainSpec.load(tmp_path / "chain"), [0]

    def counted(self: Device, array: np.ndarray, dtype: Any = None) -> np.ndarray:
        found = np.ascontiguousarray(array, dtype)
        put[0] += found.nbytes
        return found

    monkeypatch.setattr(Device, "put", counted)
    device = replace(stand_in(), xp=SimpleNamespace(**{**vars(np), "zeros": lambda *a: counted(device, np.zeros(*a))}))
    steps = [step for _, step in on_device(plan.nodes, spec, device)[0] if isinstance(step, Retrieve | DeviceRank)]
    assert len(steps) == 2
    for step in steps:
        put[0] = 0
        step.open(tmp_path / "chain", spec)
        of_batch = 0
        if isinstance(step, Retrieve):
            put[0] -= spec.num_items * spec.embedding_dim * 4  # on its way into chunks
            of_batch = search_bytes(0, 0, precision, 30, 1)
        needed = step.device_bytes(tmp_path / "chain", spec) - of_batch
        assert 0.95 * put[0] < needed < 1.1 * put[0]
