"""A chain whose heavy steps run on a device gives the slates of the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ensemble.config import ChainConfig
from ensemble.export.compile import compile_chain
from runtime.chain import Chain
from runtime.device.device import Device, stand_in
from runtime.device.plan import on_device
from runtime.device.rank import DeviceRank
from runtime.device.retrieve import Retrieve
from tests.ensemble.synthetic import UTILITY, item_id, make_run, user_id
from tests.runtime.device.card import CardArray, CardModule
from tests.runtime.device.emulated import compiler, strict

NUM_ITEMS, NUM_USERS = 300, 60
VARIANTS: dict[str, dict[str, Any]] = {
    "stored item parts": {},
    "gathered item parts, text ids": {"gathered": True, "text_ids": True},
    "a plain ranker": {"factored": False},
    "tasks": {"utility": UTILITY},
    "weights and quotas of further sources": {"further": True},
    "seen items shown again": {"chain": ChainConfig(num_candidates=30, slate_size=5, filter_seen=False)},
    "half the memory": {"chain": ChainConfig(num_candidates=30, device="gpu", device_precision="float16")},
    "more candidates than items": {"chain": ChainConfig(num_candidates=400, slate_size=5)},
}


# The kernels themselves are tested for every shape: a chain takes them in two, the others with NumPy.
ON_A_PROCESSOR = ("stored item parts", "half the memory", "weights and quotas of further sources")
CASES = [*((variant, False) for variant in VARIANTS), *((variant, True) for variant in ON_A_PROCESSOR)]


@pytest.fixture(scope="module")
def cuda(tmp_path_factory: pytest.TempPathFactory) -> Device:
    if compiler() is None:
        pytest.skip("there is no g++ to compile the kernels with")
    return strict(tmp_path_factory.mktemp("kernels"))


def chains(folder: Path, device: Device) -> tuple[Chain, Chain, list[str]]:
    reasons: list[str] = []

    def place(nodes: Any, spec: Any) -> Any:
        steps, said = on_device(nodes, spec, device)
        reasons.extend(said)
        return steps

    return Chain(folder), Chain(folder, place=place), reasons


def requests(text_ids: bool, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Of one user and of many: known and not, with and without recent items, with hidden items, of several sizes."""
    rng, kind = np.random.default_rng(seed), object if text_ids else np.int64
    asked = []
    for count in (1, 3, 40):
        users = [user_id(row, text_ids) for row in rng.integers(0, NUM_USERS + 5, count)]
        request = {"user_id": np.array(users, kind)[:, None]}
        if count != 3:
            request["recent_item_ids"] = _items(rng, (count, 4), kind, text_ids)
            request["slate_size"] = rng.integers(1, 12, (count, 1)).astype(np.int32)
        if count != 1:
            request["exclude_item_ids"] = _items(rng, (count, 20), kind, text_ids)
        asked.append(request)
    return asked


def _items(rng: np.random.Generator, shape: tuple[int, int], kind: Any, text_ids: bool) -> np.ndarray:
    rows = rng.integers(0, NUM_ITEMS, shape)
    return np.array([[item_id(row, text_ids) for row in of_user] for of_user in rows.tolist()], kind)


def same(here: dict[str, np.ndarray], there: dict[str, np.ndarray]) -> None:
    assert here["item_id"].tolist() == there["item_id"].tolist()
    assert here["path"].tolist() == there["path"].tolist()
    np.testing.assert_array_equal(here["num_items"], there["num_items"])
    np.testing.assert_allclose(here["score"], there["score"], atol=2e-5)


@pytest.mark.parametrize(("variant", "is_cuda"), CASES)
def test_slates_are_those_of_the_cpu(
    tmp_path: Path, request: pytest.FixtureRequest, variant: str, is_cuda: bool
) -> None:
    settings, device = VARIANTS[variant], request.getfixturevalue("cuda") if is_cuda else stand_in()
    run, config = make_run(tmp_path / "run", num_users=NUM_USERS, num_items=NUM_ITEMS, **settings)
    compile_chain(run, config, tmp_path / "chain", "serve")
    cpu, chain, reasons = chains(tmp_path / "chain", device)
    kinds = [type(node.step) for node in chain.nodes]
    assert Retrieve in kinds and (DeviceRank in kinds) == ("factored" not in settings)
    assert bool(reasons) == ("factored" in settings) and all("not factored" in reason for reason in reasons)
    for asked in requests(settings.get("text_ids", False)):
        same(cpu.recommend(asked), chain.recommend(asked))
    paths = cpu.recommend(requests(settings.get("text_ids", False))[2])["path"]
    assert len(set(paths.ravel().tolist())) > 1


def test_arrays_of_a_card_mix_with_none_of_the_host() -> None:
    """What the chains above rest on."""
    card, module = CardArray(np.ones((2, 3))), CardModule()
    for mixed in (
        lambda: card + np.ones(3),
        lambda: np.ones(3) @ card.T,
        lambda: np.maximum(card, np.ones((2, 3))),
        lambda: module.concatenate([card, np.ones((2, 3))]),
        lambda: module.where(card > 0, np.ones(3), 0.0),
        lambda: np.asarray(card),
    ):
        with pytest.raises(TypeError, match="card"):
            mixed()
    assert isinstance(np.einsum("ij,ij->i", card, card * np.float64(2.0)), CardArray)
