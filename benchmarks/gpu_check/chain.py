"""A compiled chain that was carried here, asked what it was asked where it was made: the same slates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu_check.parts import Settings, device_of
from runtime.chain import Chain
from runtime.device.device import Device
from runtime.device.plan import on_device
from runtime.plan import Node
from runtime.spec import ChainSpec

__all__ = ["ANSWERS", "CHAIN", "TOLERANCE", "measure"]

CHAIN, ANSWERS = "chain", "answers.npz"
# How far probabilities may be apart.
TOLERANCE = 2e-5


def measure(settings: Settings) -> Iterator[dict[str, Any]]:
    """How many slates are the same, and how many are but for items whose scores tie within the tolerance."""
    folder = Path(settings["carried"])
    if not (folder / CHAIN).is_dir():
        yield {"skipped": f"there is no {folder / CHAIN}: scripts/gpu_check.sh prepare RUN makes it"}
        return
    device, found = device_of(settings), {}
    for precision in ("float32", "float16"):
        found[precision] = of_one = _slates(device, folder, precision)
        yield found
        if of_one["same_but_for_ties"] < of_one["slates"]:
            differ = of_one["slates"] - of_one["same_but_for_ties"]
            raise SystemExit(f"{differ} of {of_one['slates']} slates differ in {precision}")


def _slates(device: Device, folder: Path, precision: str) -> dict[str, Any]:
    reasons: list[str] = []

    def place(nodes: Any, spec: ChainSpec) -> list[tuple[Node, Any]]:
        steps, said = on_device(nodes, spec, device)
        reasons.extend(said)
        return steps

    spec = replace(ChainSpec.load(folder / CHAIN), device_precision=precision)
    chain = Chain(folder / CHAIN, spec, place)
    found: dict[str, Any] = {"on_the_host": reasons, "slates": 0, "same": 0, "same_but_for_ties": 0}
    found["scores_apart"] = 0.0
    with np.load(folder / ANSWERS, allow_pickle=False) as saved:
        for number in range(int(saved["num_requests"])):
            asked = f"asked.{number}."
            answer = chain.recommend({n.removeprefix(asked): saved[n] for n in saved.files if n.startswith(asked)})
            _compare(found, answer, saved[f"item_id.{number}"], saved[f"score.{number}"])
    return found


def _compare(found: dict[str, Any], answer: dict[str, NDArray], items: NDArray, scores: NDArray) -> None:
    for here, of_here, there, of_there in zip(answer["item_id"], answer["score"], items, scores, strict=True):
        here = np.array(here.tolist(), there.dtype)
        apart = float(np.abs(of_here - of_there).max())
        is_same = bool((here == there).all())
        found["slates"] += 1
        found["same"] += is_same
        # Place by place the scores are equal within the tolerance: then only items that tie may have changed places.
        found["same_but_for_ties"] += is_same or apart <= TOLERANCE
        found["scores_apart"] = max(found["scores_apart"], apart)
