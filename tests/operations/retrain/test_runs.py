"""Where `cascade retrain` works: a run after the other, with what the latest one has finished, and old ones emptied."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from operations.retrain.runs import OUTCOME_FILE, Outcome, clean, drop_if_equal, finish, next_run
from tests.holder import another
from workflows.core.artefacts import MANIFEST_NAME, Manifest, write_manifest

OUTCOME = Outcome("HOLD", "nothing to gain", 0, "2026-01-01T00:00:00+00:00", "2026-01-01T00:10:00+00:00")


def write_stage(run: Path, stage: str, text: str = "rows", made_at: str = "2026-01-01T00:00:00") -> None:
    (run / stage / "ids").mkdir(parents=True, exist_ok=True)
    (run / stage / "ids/items.npy").write_text(text)
    write_manifest(run / stage, Manifest(stage, "print", made_at, {}, {}, []))


def finished(runs: Path, name: str, text: str = "rows") -> Path:
    (run := runs / name).mkdir()
    for stage in ("data", "repo"):
        write_stage(run, stage, text)
    finish(run, OUTCOME)
    return run


def test_the_first_run_is_empty_and_named_by_its_time(tmp_path: Path) -> None:
    run = next_run(tmp_path)
    assert re.fullmatch(r"\d{8}-\d{6}", run.name) and [*run.iterdir()] == []


def test_a_run_that_was_ended_goes_on(tmp_path: Path) -> None:
    run = next_run(tmp_path)
    assert next_run(tmp_path) == run


def test_the_next_run_is_later_and_begins_with_the_finished_stages(tmp_path: Path) -> None:
    future = finished(tmp_path, "20991231-235959")
    (future / "features").mkdir()  # without a manifest: not finished
    (future / "data/ids/__pycache__").mkdir()
    (future / "data/ids/__pycache__/left").write_text("by a server")
    run = next_run(tmp_path)
    assert run.name == "21000101-000000"
    assert (run / "data/ids/items.npy").samefile(future / "data/ids/items.npy")
    assert sorted(path.name for path in run.rglob("*") if path.is_dir()) == ["data", "ids", "ids", "repo"]


def test_a_stage_that_lacks_a_file_is_made_anew(tmp_path: Path) -> None:
    (finished(tmp_path, "20250101-000000") / "data/ids/items.npy").unlink()
    assert sorted(path.name for path in next_run(tmp_path).iterdir()) == ["repo"]


def test_what_a_command_left_that_was_ended_while_it_made_a_run_goes(tmp_path: Path) -> None:
    (tmp_path / ".20250101-000000.new").mkdir()
    (tmp_path / ".mine.new").mkdir()
    next_run(tmp_path)
    assert [path.name for path in tmp_path.glob(".*")] == [".mine.new"]


@pytest.mark.parametrize("name", ["notes", "20260101", "20260101-0000", "2026011-000000"])
def test_other_folders_are_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert next_run(tmp_path) != tmp_path / name
    assert (tmp_path / name).is_dir()


def test_a_run_that_is_what_the_one_before_was_is_dropped(tmp_path: Path) -> None:
    before = finished(tmp_path, "20250101-000000")
    run = next_run(tmp_path)
    assert drop_if_equal(run, tmp_path) == before and not run.exists()
    run = next_run(tmp_path)
    shutil.rmtree(run / "repo")
    write_stage(run, "repo", made_at="2026-01-02T00:00:00")
    assert drop_if_equal(run, tmp_path) is None and run.exists()


def test_old_runs_are_emptied_but_for_those_that_versions_are_of(tmp_path: Path) -> None:
    (runs := tmp_path / "runs").mkdir()
    names = [f"2025010{day}-000000" for day in range(1, 6)]
    made = [finished(runs, name) for name in names]
    (made[0] / "gate.json").write_text("{}")
    for place, run in (("cascade/7", made[1]), ("cascade/.6.withdrawn", made[2])):
        (folder := tmp_path / "repo" / place).mkdir(parents=True)
        write_manifest(folder, Manifest("publish", "", "", {}, {}, [], {"run": str(run.absolute())}))
    assert clean(runs, tmp_path / "repo", 2) == [made[0]]
    assert sorted(path.name for path in made[0].iterdir()) == ["gate.json", OUTCOME_FILE]
    assert json.loads((made[0] / OUTCOME_FILE).read_text())["why"] == "nothing to gain"
    assert all((run / "data" / MANIFEST_NAME).exists() for run in made[1:])
    assert clean(runs, tmp_path / "repo", 2) == []


def test_a_run_that_is_read_is_emptied_another_time(tmp_path: Path) -> None:
    old, _ = (finished(tmp_path, f"2025010{day}-000000") for day in (1, 2))
    with another(old, reads="repo"):
        assert clean(tmp_path, tmp_path / "repo", 1) == []
    assert clean(tmp_path, tmp_path / "repo", 1) == [old]
