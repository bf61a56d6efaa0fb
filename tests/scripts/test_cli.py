"""The commands as a user types them: help is instant, errors are one sentence with status 1."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import app as benchmarks
from scripts.cli import app

ROOT = Path(__file__).parents[2]
COMMANDS = [command.name for command in app.registered_commands]
SOURCES = ["train_retrieval", "fit_neighbours", "fit_sources"]
STAGES = ["prepare", *SOURCES, "build_index", "train_ranking", "evaluate", "export"]


def _cascade(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    code = "from scripts.cli import main; main()"
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd, env=environment, check=False)


def test_every_command_of_the_readme_exists() -> None:
    stages = "prepare train-retrieval fit-neighbours fit-sources build-index train-ranking evaluate export"
    served = (
        "serve recommend reload rollback gate shadow retrain replay why console block unblock monitor "
        "monitor-files timeline feedback evaluate-policy exposure"
    )
    wanted = f"init run {stages} search {served} simulate train-send-gate export-send-gate notify tables doctor demo"
    assert sorted(COMMANDS) == sorted(wanted.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_the_command(command: str) -> None:
    done = _cascade(command, "--help")
    assert done.returncode == 0
    assert f"cascade {command}" in done.stdout or f" {command} " in done.stdout


def test_every_benchmark_has_its_help() -> None:
    names = [command.name for command in benchmarks.registered_commands]
    command = [sys.executable, "-m", "benchmarks", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT, check=False)
    assert done.returncode == 0 and names and all(f" {name} " in done.stdout for name in names)


@pytest.mark.parametrize("script", STAGES)
def test_a_stage_file_runs_directly(script: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / f"{script}.py"), "--config", "none.toml", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (1, "error: --config none.toml: there is no such file\n")


def test_a_stage_without_its_predecessor_says_which_one_is_missing(tmp_path: Path) -> None:
    done = _cascade("build-index", "--config", "configs/smoke.toml", "--out", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "has not finished; run it first" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_key_is_refused_by_every_stage_before_anything_is_written(tmp_path: Path) -> None:
    done = _cascade("run", "--config", "configs/smoke.toml", "--out", str(tmp_path / "run"), "--set", "shop.users=3")
    assert done.returncode == 1
    assert done.stderr.startswith("error: config: unknown key shop.users; allowed here: num_users")
    assert not (tmp_path / "run").exists()


def test_a_renamed_flag_is_refused_with_its_new_name(tmp_path: Path) -> None:
    done = _cascade("evaluate", "--peers", "--config", "configs/smoke.toml", "--out", str(tmp_path / "run"))
    assert (done.returncode, done.stderr) == (1, "error: --peers is now --baselines; rename it\n")
    assert "--peers" not in _cascade("evaluate", "--help").stdout


def test_a_launcher_starts_only_the_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = _cascade("prepare", "--config", "configs/smoke.toml", "--out", str(tmp_path / "run"))
    assert done.returncode == 1
    assert done.stderr.startswith("error: a launcher started this command 2 times (this is process 2): only train-")
    assert not (tmp_path / "run").exists()
    training = _cascade("train-retrieval", "--config", "configs/smoke.toml", "--out", str(tmp_path / "run"))
    assert "has not finished; run it first" in training.stderr


def test_doctor_lists_devices_ports_and_packages() -> None:
    done = _cascade("doctor")
    for words in ("CUDA devices", "train-ranking", "grpc port", "free disk", "nvtabular", "faiss-cpu"):
        assert words in done.stdout


def test_the_version_is_said_and_nothing_else() -> None:
    done = _cascade("--version")
    assert (done.returncode, done.stderr) == (0, "") and re.fullmatch(r"cascade [0-9.]+\n", done.stdout)
