"""Both layouts in a real Triton: item for item what the chain answers here, and bad requests that cost nobody else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ensemble.config import ChainConfig
from ensemble.export.compile import compile_chain
from ensemble.export.stage import export
from ensemble.serving.repository import find_repository
from runtime.chain import Chain
from tests.ensemble.synthetic import UTILITY, item_id, make_run, user_id

pytestmark = [pytest.mark.triton, pytest.mark.slow]


class Served:
    """A running server, a client of it, and the same chain in this process."""

    def __init__(self, client: Any, chain: Chain, text_ids: bool) -> None:
        self.client, self.chain, self.text_ids = client, chain, text_ids
        self.dtype = object if text_ids else np.int64

    def users(self, *rows: int) -> np.ndarray:
        return np.array([[user_id(row, self.text_ids)] for row in rows], self.dtype)

    def items(self, *rows: int) -> np.ndarray:
        return np.array([[item_id(row, self.text_ids) for row in rows]], self.dtype)

    def inputs(self, request: dict[str, np.ndarray]) -> list[Any]:
        from tritonclient.grpc import InferInput

        kinds = {tensor.name: tensor.dtype for tensor in self.chain.spec.request}
        made = [InferInput(name, list(values.shape), kinds[name]) for name, values in request.items()]
        for tensor, values in zip(made, request.values(), strict=True):
            tensor.set_data_from_numpy(values)
        return made

    def ask(self, request: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        result = self.client.infer("cascade", self.inputs(request))
        return {tensor.name: result.as_numpy(tensor.name) for tensor in self.chain.spec.response}

    def agrees(self, request: dict[str, np.ndarray], got: dict[str, np.ndarray]) -> None:
        expected = self.chain.recommend(request)
        assert {name: values.tolist() for name, values in got.items()} == {
            name: values.tolist() for name, values in expected.items()
        }


@pytest.fixture(scope="module", params=[False, True], ids=["int", "text"])
def exported(request, tmp_path_factory) -> tuple[Path, Chain, bool]:
    root = tmp_path_factory.mktemp("triton")
    index = "ivf" if request.param else "exact"
    utility = UTILITY if request.param else ""
    run, config = make_run(root / "run", text_ids=request.param, index=index, further=request.param, utility=utility)
    export(run, config)
    compile_chain(run, config, root / "chain", "serve")
    return run.root, Chain.load(root / "chain"), request.param


@pytest.fixture(scope="module", params=["fused", "ensemble"])
def served(request, exported) -> Served:
    import tritonclient.grpc as grpc

    from ensemble.serving.triton import TritonServer

    root, chain, text_ids = exported
    with (
        TritonServer(find_repository(root, request.param)) as server,
        grpc.InferenceServerClient(server.grpc_url.removeprefix("grpc://")) as client,
    ):
        yield Served(client, chain, text_ids)


def test_slates_equal_the_local_chain(served):
    phone = np.array([[b"phone"]], object)
    for request in (
        {"user_id": served.users(3)},
        {"user_id": served.users(3, 10_000)},
        {"user_id": served.users(*range(33))},
        {"user_id": served.users(10_000), "device": phone, "temperature": np.array([[31]], np.float64)},
        {"user_id": served.users(10_000), "recent_item_ids": served.items(4, 5, 6), "hour": np.array([[7]])},
        {"user_id": served.users(2), "recent_item_ids": served.items(*[row % 40 for row in range(10_000)])},
        {"user_id": served.users(4), "exclude_item_ids": served.items(*range(300))},
        {"user_id": served.users(1, 5), "slate_size": np.array([[20], [3]], np.int32)},
        {"user_id": served.users(6), "temperature": np.array([[np.nan]])},
    ):
        served.agrees(request, served.ask(request))


def test_good_and_bad_requests_in_flight_together(served):
    from tritonclient.utils import InferenceServerException

    requests: list[dict[str, np.ndarray]] = []
    for row in range(1, 40):
        requests.append({"user_id": served.users(row), "exclude_item_ids": served.items(*range(row))})
        requests.append({"user_id": served.users(row, row + 1), "recent_item_ids": np.repeat(served.items(row), 2, 0)})
        requests.append({"user_id": served.users(row), "slate_size": np.array([[-row]], np.int32)})
    with ThreadPoolExecutor(16) as pool:
        pending = [pool.submit(served.ask, request) for request in requests]
        for request, answer in zip(requests, pending, strict=True):
            if "slate_size" in request:
                number = request["slate_size"][0, 0]
                with pytest.raises(InferenceServerException, match=f"slate_size must be from 1 to 20, got {number}$"):
                    answer.result()
            else:
                served.agrees(request, answer.result())


def test_bad_requests_get_a_sentence_and_the_server_lives_on(served):
    from tritonclient.utils import InferenceServerException

    bad = [
        {"user_id": served.users(*range(65))},
        {"user_id": served.users(1), "slate_size": np.array([[21]], np.int32)},
        {"user_id": served.users(1), "slate_size": np.array([[0]], np.int32)},
        {"user_id": served.users(1), "exclude_item_ids": served.items(*range(20_001))},
        {"user_id": np.concatenate([served.users(1), served.users(2)], axis=1)},
    ]
    if served.text_ids:
        bad += [{"user_id": np.array([[b"a\0b"]], object)}, {"user_id": np.array([[b"\xff"]], object)}]
    for request in bad:
        with pytest.raises(InferenceServerException) as caught:
            served.ask(request)
        message = caught.value.message()
        assert "Traceback" not in message and str(Path(__file__).parents[2]) not in message and "/lib/" not in message
    request = {"user_id": served.users(8)}
    served.agrees(request, served.ask(request))


@pytest.mark.gpu("triton")
def test_the_onnxruntime_backend_gives_the_slates_of_the_chain(tmp_path):
    import tritonclient.grpc as grpc

    from ensemble.serving.triton import TritonServer

    limits = ChainConfig(
        num_candidates=30, slate_size=5, max_slate_size=20, layouts=("ensemble",), onnx_steps="onnxruntime"
    )
    run, config = make_run(tmp_path / "run", chain=limits)
    export(run, config)
    compile_chain(run, config, tmp_path / "chain", "serve")
    with (
        TritonServer(find_repository(run.root, "ensemble")) as server,
        grpc.InferenceServerClient(server.grpc_url.removeprefix("grpc://")) as client,
    ):
        served = Served(client, Chain.load(tmp_path / "chain"), text_ids=False)
        request = {"user_id": served.users(*range(33))}
        got, expected = served.ask(request), served.chain.recommend(request)
    assert got["path"].tolist() == expected["path"].tolist()
    assert got["num_items"].tolist() == expected["num_items"].tolist()
    np.testing.assert_allclose(got["score"], expected["score"], atol=5e-3)  # TF32 in the tower may swap near ties
    assert np.mean(got["item_id"] == expected["item_id"]) > 0.9
