"""The whole chain as a user runs it: one command from tables to slates, served by a real Triton in both layouts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.result import load, result_path
from cascade_client import CascadeClient
from ensemble.serving.repository import find_repository
from ensemble.serving.triton import TritonServer

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.triton, pytest.mark.slow]
STAGES = ("data", "features", "retrieval", "neighbours", "sources", "index", "ranking", "report", "repo")
USERS = [1, 2, 3, 17, 42, 299, 987_654_321]


def _cascade(*arguments: str, folder: Path = ROOT) -> str:
    return _python("-c", "from scripts.cli import main; main()", *arguments, folder=folder)


def _python(*arguments: str, folder: Path = ROOT) -> str:
    environment = {**os.environ, "COLUMNS": "300", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=folder,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("smoke")
    options = ("--config", "configs/smoke.toml", "--out", str(root / "run"), "--publish", str(root / "published"))
    said = _cascade("run", *options)
    for stage in (
        "data",
        "features",
        "train-retrieval",
        "fit-neighbours",
        "fit-sources",
        "build-index",
        "train-ranking",
        "evaluate",
        "export",
    ):
        assert re.search(rf"^{stage}: on (CPU|GPU) \(.+\)", said, re.MULTILINE), f"{stage} did not name its device"
    return root / "run"


def test_a_second_run_does_nothing(run: Path) -> None:
    said = _cascade("run", "--config", "configs/smoke.toml", "--out", str(run))
    for stage in STAGES:
        assert f"{stage}: up to date" in said


@pytest.mark.long
def test_the_serving_benchmark_finds_every_variant_answering_alike_and_leaves_the_report_alone(run: Path) -> None:
    sizes = ("--items", "200", "--users", "300", "--candidates", "50", "--slate", "10")
    effort = ("--seconds", "0.05", "--rounds", "1", "--compared", "20")
    said = _python(
        *("-m", "benchmarks", "serving", "--config", "configs/smoke.toml", "--out", str(run)),
        *sizes,
        *effort,
        "--full-training",
    )
    assert "ranking: up to date" in said
    result = load(result_path(run, "serving"))
    answers = {row[0]: row[1] for table in result.figures if table.title == "Answers" for row in table.rows}
    assert "no" not in answers.values() and 20 in answers.values()
    assert answers["largest difference of stock's probabilities from NumPy's"] < 1e-4
    assert answers["largest difference of its probabilities from NumPy's"] < 1e-4
    assert answers["share of it that the layout merlin shows"] > 0.99
    assert all(target.value is not None for target in result.targets)
    names = [row[0] for table in result.figures if table.title == "1 client, 1 user" for row in table.rows]
    assert len(names) == 11 and not any("refused" in note for note in result.notes)
    assert "report: up to date" in _cascade("run", "--config", "configs/smoke.toml", "--out", str(run))
    assert result_path(run, "serving").is_file()


def test_the_report_speaks_of_every_source_with_raw_ids(run: Path) -> None:
    metrics = msgspec.json.decode((run / "report" / "metrics.json").read_bytes())
    alone = {"towers", "neighbours", "trending", "latest", "content"}
    assert set(metrics["sources"]) == {"popularity", "item_knn", *alone, "retrieval", "chain", "informed"}
    shares = {name: values["share_of_best@10"]["value"] for name, values in metrics["sources"].items()}
    assert shares["popularity"] < shares["informed"] < 1
    assert shares["informed"] == max(shares.values())
    table = pq.read_table(run / "report" / "recommendations.parquet")
    assert table.column_names == ["source", "user_id", "rank", "item_id", "score"]
    assert set(table["source"].to_pylist()) == {"retrieval", "chain"}
    items = np.load(run / "data" / "ids" / "items.npy")
    assert np.isin(table["item_id"].to_numpy(), items).all()


@pytest.mark.long
def test_a_search_trains_its_trials_on_the_prepared_run_and_goes_on(run: Path) -> None:
    pytest.importorskip("optuna", reason="the extra 'search' is not installed")
    space = ("--param", "retrieval.temperature=loguniform(0.05, 0.5)", "--set", "retrieval.windows.max_epochs=1")
    options = ("--config", "configs/smoke.toml", "--out", str(run), *space)
    assert "best recall_at_100" in _cascade("search", *options, "--trials", "1")
    _cascade("search", *options, "--trials", "2")
    found = msgspec.json.decode((run / "search" / "retrieval" / "search.json").read_bytes())
    assert [sorted(trial["number"] for trial in found["trials"]), found["best"]["state"]] == [[0, 1], "finished"]
    default = next(trial for trial in found["trials"] if trial["number"] == 0)
    assert default["params"] == {"retrieval.temperature": 0.1}
    assert default["value"] != found["trials"][1 if found["trials"][0] == default else 0]["value"]
    best = run / "search" / "retrieval" / "trials" / f"{found['best']['number']:04}"
    assert (best / "retrieval" / "item_embeddings.npy").is_file()


@pytest.mark.long
def test_a_source_of_ones_own_is_fitted_measured_and_served(run: Path, tmp_path: Path) -> None:
    """The example of docs/ADD_A_SOURCE.md, word for word but for the column's name."""
    page = (ROOT / "docs/ADD_A_SOURCE.md").read_text()
    code, section = (re.search(rf"```{kind}\n(.*?)```", page, re.DOTALL)[1] for kind in ("python", "toml"))
    assert code.count("\n") <= 60
    (tmp_path / "margins.py").write_text(code.replace('"margin"', '"price"'))
    (tmp_path / "config.toml").write_text((ROOT / "configs/smoke.toml").read_text() + "\n" + section)
    shutil.copytree(run, tmp_path / "run")
    options = ("--config", "config.toml", "--out", "run")
    said = _cascade("run", *options, folder=tmp_path)
    assert "ranking: up to date" in said and "sources: margins: recall alone" in said
    metrics = msgspec.json.decode((tmp_path / "run/report/metrics.json").read_bytes())
    assert "margins" in metrics["sources"]
    for layout in ("fused", "ensemble"):
        lib = next((tmp_path / "run/repo" / layout).glob("*/1/lib/margins.py"))
        assert lib.read_text() == (tmp_path / "margins.py").read_text()
    plan = msgspec.json.decode((tmp_path / "run/repo/fused/cascade/1/chain/plan.json").read_bytes())
    assert "margins" in [node["name"] for node in plan["nodes"]]
    with (
        TritonServer(find_repository(tmp_path / "run", "ensemble")) as server,
        CascadeClient(server.grpc_url) as client,
    ):
        assert len(client.recommend([USERS[0]], slate_size=5)[0].item_ids) == 5


@pytest.fixture(scope="module", params=["fused", "ensemble", "published"])
def server(run: Path, request: pytest.FixtureRequest):
    path = run.parent / "published" if request.param == "published" else run
    layout = "ensemble" if request.param == "ensemble" else "fused"
    with TritonServer(find_repository(path, layout)) as started:
        yield started


def _local(run: Path, context: dict[str, list], slate_size: int) -> dict[str, np.ndarray]:
    from runtime.chain import Chain

    request = {
        "user_id": np.array(USERS, np.int64)[:, None],
        "slate_size": np.full((len(USERS), 1), slate_size, np.int32),
    }
    request["device"] = np.array([[value.encode()] for value in context["device"]], object)
    request["hour"] = np.array(context["hour"], np.int64)[:, None]
    return Chain.load(run / "repo" / "fused" / "cascade" / "1" / "chain").recommend(request)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_served_slates_equal_the_local_chain(run: Path, server: TritonServer, protocol: str) -> None:
    context = {"device": ["mobile"] * len(USERS), "hour": [9] * len(USERS)}
    wanted = _local(run, context, 7)
    with CascadeClient(server.grpc_url if protocol == "grpc" else server.http_url) as client:
        slates = client.recommend(USERS, context=context, slate_size=7)
    assert [slate.item_ids for slate in slates] == [row.tolist() for row in wanted["item_id"]]
    assert [slate.path for slate in slates][-1] == "context"
    for slate, row in zip(slates, wanted["score"], strict=True):
        np.testing.assert_allclose(slate.scores, row, rtol=1e-6)


def test_the_python_example_of_the_readme_runs(server: TritonServer) -> None:
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    code = block[1].replace("localhost:8001", server.grpc_url)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["17", "known_user"], ["42", "known_user"]]


def test_the_python_examples_of_the_client_run(server: TritonServer, tmp_path: Path) -> None:
    found = re.findall(r"```python\n(.*?)```", (ROOT / "client/README.md").read_text(), re.DOTALL)
    asks = [code for code in found if "client.send(" not in code]
    code = "\n".join(asks).replace("localhost:8001", server.grpc_url).replace("timeout_s=0.5", "timeout_s=30")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'client'}", "CASCADE_EVENTS": ""}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert len(asks) == 3 and done.stdout.splitlines()[0].startswith("17 known_user ["), done.stdout


def _retrain(runs: Path, target: Path, *more: str) -> subprocess.Popen[str]:
    given = ["retrain", "--config", "configs/smoke.toml", "--out", str(runs), "--publish", str(target), *more]
    command = [sys.executable, "-c", "from scripts.cli import main; main()", *given]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.mark.long
def test_retraining_from_the_first_version_over_a_kill_to_a_decision_on_a_newer_one(run: Path, tmp_path: Path) -> None:
    """Nothing new is made of nothing new; what is ended goes on; what is decided is told."""
    runs, target = tmp_path / "runs", tmp_path / "published"
    shutil.copytree(run, first := runs / "20260101-000000")
    done = _retrain(runs, target)
    said, progress = done.communicate(timeout=600)
    assert done.returncode == 0, progress
    assert all(f"{stage}: up to date" in progress for stage in STAGES), progress
    assert said.startswith(f"retrain: RELEASE: version 1 is published from {first} after ")
    again = _retrain(runs, target)
    said, progress = again.communicate(timeout=600)
    assert again.returncode == 3 and "no data or settings are new since 20260101-000000" in said, progress
    assert [path.name for path in runs.glob("2*")] == ["20260101-000000"]

    newer = ("--set", "ranking.max_epochs=1", "--set", "gate.max_age_days=0")
    killed = _retrain(runs, target, *newer)
    assert killed.stderr is not None
    for line in killed.stderr:
        if line.startswith("train-ranking: on"):
            other = _retrain(runs, target, *newer)
            assert other.wait(600) == 1 and f"process {killed.pid}" in other.communicate()[1]
            killed.kill()
    killed.communicate()
    made = next(path for path in runs.glob("2*") if path != first)
    assert not (made / "retrained.json").exists()
    whole = _retrain(runs, target, *newer)
    said, progress = whole.communicate(timeout=600)
    verdict = {0: "RELEASE", 3: "HOLD", 4: "REJECT"}[whole.returncode]
    assert said.startswith(f"retrain: {verdict}: ") and str(made) in said, progress
    assert "retrieval: up to date" in progress and "ranking: up to date" not in progress
    assert sorted(path.name for path in runs.glob("2*")) == ["20260101-000000", made.name]
    shown = subprocess.run(
        [sys.executable, "-c", "from scripts.cli import main; main()", "timeline", str(target)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    ).stdout
    assert re.findall("published|retrained|gate", re.sub(r"/\S+", "", shown))[:3] == [
        "published",
        "retrained",
        "retrained",
    ]
    assert f"gate        version 1  {verdict}: " in shown
