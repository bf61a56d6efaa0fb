"""What this Python exports, another Python with other releases of NumPy, FAISS and ONNX Runtime answers the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ensemble.export.stage import export
from runtime.chain import Chain
from tests.ensemble.serving.processes import ready_urls, serving
from tests.ensemble.synthetic import make_run, user_id

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("answer_requests.py")
VARIANTS: dict[str, dict[str, Any]] = {
    "exact, factored": {},
    "ivf, plain, text ids": {"index": "ivf", "factored": False, "text_ids": True},
    "hnsw, gathered": {"index": "hnsw", "gathered": True},
}


def other_python(environment: str) -> str:
    """The Python 3.12 of an environment that `make test` makes."""
    found = ROOT / environment / "bin" / "python"
    if not found.is_file():
        pytest.skip(f"there is no {environment}: make test makes it where Python 3.12 is found")
    return str(found)


def answers(python: str, version: Path, **variables: str) -> dict[str, Any]:
    environment = {**os.environ, **variables}
    command = [python, str(SCRIPT), str(version)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    answered: dict[str, Any] = json.loads(done.stdout)
    return answered


@pytest.mark.parametrize("variant", VARIANTS)
def test_slates_are_equal(tmp_path: Path, variant: str) -> None:
    pythons = [other_python(name) for name in (".venv-light", ".venv-serve")]
    run, config = make_run(tmp_path / "run", num_users=300, num_items=900, **VARIANTS[variant])
    export(run, config)
    version = run.root / "repo/fused/cascade/1"
    # To the last bit where OpenBLAS takes the same kernels; its older releases do not know newer processors.
    here = answers(sys.executable, version, OPENBLAS_CORETYPE="Haswell")
    for python in pythons:
        there = answers(python, version, OPENBLAS_CORETYPE="Haswell")
        assert here["versions"] != there["versions"]
        assert here["answers"] == there["answers"]
    # With the kernels that each chooses, the same items in the same order; the probabilities but for rounding.
    free = answers(pythons[0], version)
    for expected, got in zip(here["answers"], free["answers"], strict=True):
        assert {**expected, "score": None} == {**got, "score": None}
        np.testing.assert_allclose(scores(expected), scores(got), rtol=0, atol=1e-5)


def scores(answer: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(answer["score"][2]), np.float32)


@pytest.mark.triton
@pytest.mark.slow
@pytest.mark.parametrize("layout", [pytest.param("fused", marks=pytest.mark.long), "ensemble"])
def test_the_other_python_serves_what_this_one_exported(tmp_path: Path, layout: str) -> None:
    python = other_python(".venv-serve")
    run, config = make_run(tmp_path / "run")
    export(run, config)
    users = [str(user_id(row, False)) for row in (0, 1, 2, 9)] + ["-7"]
    asked = [part for user in users for part in ("--user-id", user)]
    with serving(run.root, "--layout", layout, python=python) as process:
        http, grpc, _ = ready_urls(process)
        for url in (http, grpc):
            command = [python, "-m", "scripts.recommend", "--url", url, "--json", *asked]
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ, check=False)
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout) == local(run.root / "repo/fused/cascade/1/chain", users)


def local(chain: Path, users: list[str]) -> list[dict[str, Any]]:
    answer = Chain.load(chain).recommend({"user_id": np.array([[int(user)] for user in users])})
    return [
        {
            "user_id": int(user),
            "item_ids": answer["item_id"][row, :count].tolist(),
            "scores": answer["score"][row, :count].tolist(),
            "path": answer["path"][row, 0].decode(),
        }
        for row, (user, count) in enumerate(zip(users, answer["num_items"][:, 0].tolist(), strict=True))
    ]
