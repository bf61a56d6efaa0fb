"""Every command that writes where it is told to: what cannot be written is one sentence, and changes nothing."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import scripts.run as run_module
from scripts.cli import app
from scripts.common import one_sentence_errors
from tests.operations.notify.made import GATE, write_candidates
from tests.workflows.decisions.test_open_bandit import table_of
from workflows.core import device
from workflows.core.artefacts import Manifest, write_manifest

SHOP = Path(__file__).parents[2] / "configs/shop.toml"
EVENTS = "user_id,item_id,ts\n1,2,2024-01-01\n2,3,2024-01-02\n1,3,2024-01-03\n3,2,2024-01-05\n"
SMOKE = ["run", "--config", str(SHOP.with_name("smoke.toml"))]
# /proc takes no file although it says that it does; a name of 300 letters is none to any file system.
PLACES = ("/proc/x", "/proc/x/y", "file", "file/x", "/dev/full/x", "x" * 300)


def _notify(folder: Path, *options: str) -> list[str]:
    GATE.save(folder)
    return ["notify", str(folder), "--candidates", str(write_candidates(folder / "c.parquet", [1.0])), *options]


def _collect(folder: Path) -> list[str]:
    (folder / "LOG/open").mkdir(parents=True)
    return ["log", "collect", str(folder / "LOG"), "--out"]


def _init(folder: Path) -> list[str]:
    (folder / "events.csv").write_text(EVENTS)
    names = ["--user-id", "user_id", "--item-id", "item_id", "--timestamp", "ts"]
    return ["init", str(folder / "events.csv"), *names, "--force", "--out"]


# What is given before the place.
COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "simulate": lambda _: ["simulate", "--config", str(SHOP), "--users", "20", "--days", "1", "--log"],
    "monitor-files": lambda _: ["monitor-files"],
    "log collect": _collect,
    "log import": lambda folder: ["log", "import", str(table_of(folder)), "--out"],
    "init": _init,
    "prepare": lambda _: ["prepare", "--config", str(SHOP), "--out"],
    "run": lambda _: ["run", "--config", str(SHOP), "--out"],
    "notify --log": _notify,
    "notify --out": lambda folder: _notify(folder, "--log", str(folder / "log"), "--out"),
    "train-send-gate": lambda folder: ["train-send-gate", str(folder / "no log yet"), "--out"],
    "run --publish": lambda folder: [*SMOKE, "--out", str(folder / "run"), "--publish"],
    "slates allot": lambda folder: ["slates", "allot", str(folder), "--units", str(folder), "--out"],
}


# These write a file, over one that is there.
OF_FILES = ("init", "log import", "notify --out", "slates allot")
CASES = [(command, place) for command in COMMANDS for place in PLACES if place != "file" or command not in OF_FILES]


@pytest.mark.parametrize(("command", "place"), CASES, ids=lambda one: one[:14])
def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path, command: str, place: str) -> None:
    (tmp_path / "file").write_text("kept")
    given = COMMANDS[command](tmp_path)
    if command == "notify --log":
        given.append("--log")
    found = CliRunner().invoke(app, [*given, str(tmp_path / place)])
    assert found.exit_code == 1 and isinstance(found.exception, SystemExit), found.output
    said = found.stderr.strip().splitlines()[-1]
    assert said.startswith("error: ") and ("cannot be" in said), said
    assert (tmp_path / "file").read_text() == "kept"


def test_a_run_that_could_not_be_published_is_not_begun(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    found = CliRunner().invoke(app, [*SMOKE, "--out", str(tmp_path / "run"), "--publish", str(tmp_path / "file")])
    assert found.exit_code == 1 and not (tmp_path / "run").exists()
    assert found.stderr.splitlines()[-1].startswith("error: publish: ")


@pytest.mark.parametrize("section", ["features", "retrieval", "index", "ranking"])
def test_a_run_whose_later_stages_lack_a_gpu_is_not_begun(
    tmp_path: Path, section: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "num_gpus", lambda: 0)
    given = [*SMOKE, "--out", str(tmp_path / "run"), "--set", f"{section}.device=gpu"]
    found = CliRunner().invoke(app, given)
    assert found.exit_code == 1 and not (tmp_path / "run").exists()
    said = f"error: {section}.device = 'gpu' was asked for, but no CUDA device was found; set it to 'auto' or 'cpu'"
    assert found.stderr.splitlines()[-1] == said


def test_a_stage_that_a_gpu_of_another_machine_finished_needs_none_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was trained elsewhere is exported again with another rule; --force trains it anew."""
    monkeypatch.setattr(device, "num_gpus", lambda: 0)
    monkeypatch.setattr(run_module, "model_stages", lambda run, config, force: begun.append(run.root))
    monkeypatch.setattr(run_module, "evaluate_stage", lambda run, config, force: None)
    monkeypatch.setattr(run_module, "export_stage", lambda run, config, publish, force: None)
    begun: list[Path] = []
    folder, given = tmp_path / "run/ranking", ["--out", str(tmp_path / "run"), "--set", "ranking.device=gpu"]
    folder.mkdir(parents=True)
    for asked in ("cpu", "gpu"):
        made = Manifest("ranking", "x", "2026-01-01T00:00:00+00:00", {}, {"ranking": {"device": asked}}, [])
        write_manifest(folder, made)
        found = CliRunner().invoke(app, [*SMOKE, *given])
        assert (found.exit_code, len(begun)) == ((0, 1) if asked == "gpu" else (1, 0)), found.output
    found = CliRunner().invoke(app, [*SMOKE, *given, "--force"])
    assert found.exit_code == 1 and "ranking.device = 'gpu' was asked for" in found.stderr


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOTDIR])
def test_what_the_system_refuses_is_no_bug_of_a_command(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    @one_sentence_errors
    def gate() -> None:
        raise OSError(code, "refused", "/of/somebody")

    with pytest.raises(typer.Exit):
        gate()
    assert capsys.readouterr().err.startswith(("error: /of/somebody cannot be used (", "error: the disk of /of/some"))


def test_another_error_of_the_system_keeps_its_traceback() -> None:
    @one_sentence_errors
    def gate() -> None:
        raise FileNotFoundError(errno.ENOENT, "gone", "/of/somebody")

    with pytest.raises(FileNotFoundError):
        gate()
