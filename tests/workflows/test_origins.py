"""Stages that do not belong together are refused: exchanged inputs, forced and copied stages, older manifests."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from workflows.core.artefacts import MANIFEST_NAME, read_manifest
from workflows.core.errors import ArtefactError
from workflows.core.origins import why_stale
from workflows.core.run import Run, run_stage

AFTER = {
    "data": (),
    "features": ("data",),
    "retrieval": ("data", "features"),
    "repo": ("data", "features", "retrieval"),
}


def make(run: Run, stage: str, text: str = "", *, config: object = 1, force: bool = False) -> bool:
    """Run a stage that writes a text and a time that no two of its results share; whether it ran."""
    ran = []

    def body(folder: Path) -> None:
        ran.append(stage)
        (folder / "out.txt").write_text(f"{stage} {text}")
        (folder / "log.json").write_text(str(folder.stat().st_mtime_ns))

    run_stage(run, stage, config={"x": config}, after=AFTER[stage], body=body, volatile=("log.json",), force=force)
    return bool(ran)


def make_all(root: Path, text: str = "") -> Run:
    run = Run(root)
    for stage in AFTER:
        make(run, stage, text if stage == "data" else "")
    return run


def test_stages_of_one_chain_belong_together_and_are_up_to_date(tmp_path: Path) -> None:
    run = make_all(tmp_path)
    assert why_stale(run.root, ["repo"]) is None
    assert not any(make(run, stage) for stage in AFTER)


def test_a_stage_between_new_inputs_and_a_later_one_must_run_again_first(tmp_path: Path) -> None:
    run = make_all(tmp_path)
    make(run, "data", "of day 2", config=2)
    with pytest.raises(ArtefactError, match=r"features \(of .*\) was made from other data/ .*cascade prepare again"):
        make(run, "retrieval")
    make(run, "features")
    with pytest.raises(
        ArtefactError,
        match=r"retrieval \(of .*\) was made from other data/, features/ than what is there now \(of .*\); run cascade "
        r"train-retrieval again, or cascade run for every stage",
    ):
        make(run, "repo")
    assert make(run, "retrieval") and make(run, "repo")


def test_all_stages_in_order_run_again_by_themselves(tmp_path: Path) -> None:
    run = make_all(tmp_path)
    assert make(run, "data", "of day 2", config=2)
    assert all(make(run, stage) for stage in ("features", "retrieval", "repo"))


def test_a_forced_stage_counts_as_the_same_when_its_result_is_the_same(tmp_path: Path) -> None:
    run = make_all(tmp_path)
    assert make(run, "features", force=True)
    assert not make(run, "retrieval") and not make(run, "repo")
    # The same config and inputs, and yet another result, as training on a GPU may give.
    assert make(run, "features", "differs", force=True)
    with pytest.raises(ArtefactError, match=r"retrieval .* was made from other features/"):
        make(run, "repo")
    assert make(run, "retrieval")


def test_a_folder_of_another_run_is_refused_unless_that_one_had_the_same_inputs(tmp_path: Path) -> None:
    run, same, other = make_all(tmp_path / "a"), make_all(tmp_path / "b"), make_all(tmp_path / "c", "other")
    shutil.rmtree(run.folder("retrieval"))
    shutil.copytree(same.folder("retrieval"), run.folder("retrieval"))
    assert not make(run, "repo")
    shutil.rmtree(run.folder("retrieval"))
    shutil.copytree(other.folder("retrieval"), run.folder("retrieval"))
    with pytest.raises(ArtefactError, match=r"retrieval .* was made from other data/, features/"):
        make(run, "repo")
    assert make(run, "retrieval")
    assert not make(run, "repo")  # the export is of this retrieval/ again


def test_an_export_without_the_stages_behind_it_is_compared_with_nothing(tmp_path: Path) -> None:
    run = make_all(tmp_path)
    for stage in ("data", "features", "retrieval"):
        shutil.rmtree(run.folder(stage))
    assert why_stale(run.root, ["repo"]) is None


def test_stages_of_a_release_that_recorded_no_contents_are_refused_and_made_again(tmp_path: Path) -> None:
    run = make_all(tmp_path)
    for stage in AFTER:
        path = run.folder(stage) / MANIFEST_NAME
        old = msgspec.structs.replace(read_manifest(path.parent), content="", after={})
        path.write_bytes(msgspec.json.encode(old))
    with pytest.raises(ArtefactError, match=r"data was made by an older Cascade.*run cascade prepare again"):
        make(run, "repo")
    assert "repo was made by an older Cascade" in str(why_stale(run.root, ["repo"]))
    assert all(make(run, stage) for stage in AFTER)


def test_a_missing_stage_is_named_with_its_command(tmp_path):
    with pytest.raises(ArtefactError, match=r"sources holds no manifest.json: its stage, cascade fit-sources, has not"):
        read_manifest(tmp_path / "sources")
