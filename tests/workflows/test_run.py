"""The run directory: no-op on rerun, nothing half-written, altered files refused."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from workflows.core.artefacts import verify
from workflows.core.errors import ArtefactError, CascadeError
from workflows.core.run import Run, run_stage


def _write(text: str):
    def body(folder: Path) -> dict[str, str]:
        (folder / "out.txt").write_text(text)
        return {"text": text}

    return body


def _stage(run: Run, text: str, *, config: object = 1, after: tuple[str, ...] = (), stage: str = "data", force=False):
    return run_stage(run, stage, config={"x": config}, after=after, body=_write(text), force=force)


def test_a_finished_stage_runs_again_only_when_its_config_changes_or_it_is_forced(tmp_path: Path) -> None:
    run = Run(tmp_path)
    _stage(run, "first")
    assert _stage(run, "second").info == {"text": "first"}
    assert _stage(run, "third", config=2).info == {"text": "third"}
    assert _stage(run, "fourth", config=2, force=True).info == {"text": "fourth"}
    assert (run.folder("data") / "out.txt").read_text() == "fourth"


def test_a_later_stage_runs_again_when_an_earlier_one_has_changed(tmp_path: Path) -> None:
    run = Run(tmp_path)
    _stage(run, "a")
    _stage(run, "b", stage="features", after=("data",))
    _stage(run, "a2", config=2)
    assert _stage(run, "b2", stage="features", after=("data",)).info == {"text": "b2"}


def test_a_stage_that_fails_leaves_the_earlier_result_untouched(tmp_path: Path) -> None:
    run = Run(tmp_path)
    _stage(run, "good")

    def broken(folder: Path) -> None:
        (folder / "out.txt").write_text("half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_stage(run, "data", config={"x": 2}, after=(), body=broken)
    verify(run.folder("data"))
    assert (run.folder("data") / "out.txt").read_text() == "good"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_process_killed_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path)
    _stage(run, "good")
    run.folder("data").rename(tmp_path / ".data.old")
    assert _stage(run, "not run").info == {"text": "good"}
    assert (run.folder("data") / "out.txt").read_text() == "good"


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path)
    _stage(run, "good")

    def full(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(CascadeError, match=r"data: the disk of .* is full; free some space and run"):
        run_stage(run, "data", config={"x": 2}, after=(), body=full)
    assert (run.folder("data") / "out.txt").read_text() == "good"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "is missing but listed"),
        (lambda path: path.write_text("a"), "has 1 bytes, its manifest says 5"),
        (lambda path: path.write_text("wrong"), "does not match its checksum"),
    ],
)
def test_a_damaged_artefact_is_refused_by_the_next_stage_and_made_again_by_its_own(tmp_path, damage, message) -> None:
    run = Run(tmp_path)
    _stage(run, "right")
    damage(run.folder("data") / "out.txt")
    with pytest.raises(ArtefactError, match=message):
        _stage(run, "b", stage="features", after=("data",))
    assert _stage(run, "right").info == {"text": "right"}
    verify(run.folder("data"))


def test_a_stage_whose_predecessor_has_not_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="its stage, cascade prepare, has not finished"):
        _stage(Run(tmp_path), "b", stage="features", after=("data",))


def test_a_truncated_manifest_is_refused(tmp_path: Path) -> None:
    run = Run(tmp_path)
    _stage(run, "right")
    path = run.folder("data") / "manifest.json"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ArtefactError, match=r"manifest\.json cannot be read"):
        verify(run.folder("data"))
