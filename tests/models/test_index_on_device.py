"""What exact search on a GPU takes is measured beside the index, and decides where a chain of device "auto" runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ensemble.config import ChainConfig
from ensemble.export.compile import compile_chain
from models.index.meta import IndexMeta
from models.index.on_device import CUPY, USERS, can_measure, first_device, measure_on, too_large
from models.index.workload import Workload
from runtime.device.device import stand_in
from runtime.spec import ChainSpec
from tests.ensemble.synthetic import make_run


def workload(dim: int = 16) -> tuple[np.ndarray, Workload]:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(900, dim)).astype(np.float32)
    queries = rng.normal(size=(USERS + 20, dim)).astype(np.float32)
    blocked = [np.sort(rng.choice(900, 30, replace=False)) for _ in queries]
    return embeddings, Workload(queries, blocked, rng.random(900) < 0.8, 40, 20)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_gpu_finds_everything_and_its_time_is_measured(precision: str) -> None:
    embeddings, asked = workload()
    found = measure_on(stand_in(), embeddings, asked, precision)
    assert (found.kind, found.device, found.index_recall_at_k) == ("exact", CUPY, 1.0) and found.ms_per_query > 0
    assert can_measure(embeddings, asked) and not can_measure(workload(12)[0], workload(12)[1])
    assert not can_measure(embeddings, msgspec.structs.replace(asked, num_candidates=2033))


def test_what_does_not_fit_is_not_measured() -> None:
    assert too_large(stand_in(), *workload(), "float32") == ""
    small = dataclasses.replace(stand_in(), free_bytes=lambda: 1 << 20)
    assert "GiB of NumPy in the place of a GPU are needed and 0.00 GiB are free" in too_large(
        small, *workload(), "float32"
    )


@pytest.mark.parametrize(("ms_per_query", "expected"), [(None, "cpu"), (0.001, "gpu"), (1e6, "cpu")])
def test_auto_goes_where_it_was_faster(tmp_path: Path, ms_per_query: float | None, expected: str) -> None:
    chain = ChainConfig(num_candidates=30, slate_size=5, device="auto", queue_delay_us=200)
    run, config = make_run(tmp_path / "run", chain=chain)
    meta = IndexMeta.load(run.folder("index"))
    if ms_per_query is not None:
        on_card = msgspec.structs.replace(measure_on(stand_in(), *workload()), ms_per_query=ms_per_query)
        meta = msgspec.structs.replace(meta, ms_per_query=1.0, measured=(*meta.measured, on_card))
        meta.save(run.folder("index"))
    assert meta.faster_device == expected
    compile_chain(run, config, tmp_path / "chain", "serve")
    spec = ChainSpec.load(tmp_path / "chain")
    assert (spec.device, spec.queue_delay_us) == (expected, 200 if expected == "gpu" else 0)
    assert spec.device_or_cpu == (expected == "gpu")


@pytest.mark.gpu("cupy")
def test_on_a_gpu() -> None:
    card = first_device()
    assert card is not None
    assert measure_on(card, *workload()).index_recall_at_k > 0.999
