"""Published versions: whole or invisible, numbered, kept, rolled back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import ensemble.publish as publishing
from ensemble import publish_files
from ensemble.config import Config
from ensemble.export.pbtxt import served_version
from ensemble.export.stage import export
from ensemble.publish import publish, rollback
from tests.ensemble.synthetic import make_run, sign_again
from tests.holder import another
from workflows.core.artefacts import verify
from workflows.core.errors import ArtefactError
from workflows.core.run import Run


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[Run, Config]:
    run, config = make_run(tmp_path_factory.mktemp("publish") / "run", num_users=20, num_items=60)
    export(run, config)
    return run, config


def served(target: Path) -> int:
    """The version that a server would load now; checks that everything it needs is whole."""
    text = (target / "cascade/config.pbtxt").read_text()
    version = served_version(text)
    verify(target / "cascade" / str(version))
    assert (target / "cascade" / str(version) / "config.pbtxt").read_text() == text
    for line in text.splitlines():
        if "model_name" in line:
            step = target / line.split('"')[1]
            verify(step)
            assert f'name: "{step.name}"' in (step / "config.pbtxt").read_text()
    return version


@pytest.mark.parametrize("layout", ["fused", "ensemble"])
def test_versions_are_numbered_kept_and_rolled_back(exported, tmp_path, layout):
    assert [publish(*exported, tmp_path, layout, keep=2) for _ in range(3)] == [1, 2, 3]
    assert served(tmp_path) == 3
    assert sorted(path.name for path in (tmp_path / "cascade").iterdir() if path.is_dir()) == ["2", "3"]
    assert rollback(tmp_path) == 2 == served(tmp_path)
    with pytest.raises(ArtefactError, match="no version older than 2"):
        rollback(tmp_path)
    # A withdrawn number is never used again.
    assert publish(*exported, tmp_path, layout, keep=2) == 4 == served(tmp_path)
    assert rollback(tmp_path) == 2 == served(tmp_path)
    steps = {path.name.split("_")[1] for path in tmp_path.iterdir() if path.name != "cascade"}
    assert steps == (set() if layout == "fused" else {"v2", "v4"})


def test_layouts_may_change_between_versions(exported, tmp_path):
    publish(*exported, tmp_path, "ensemble")
    publish(*exported, tmp_path, "fused")
    assert 'backend: "python"' in (tmp_path / "cascade/config.pbtxt").read_text()
    rollback(tmp_path)
    assert 'platform: "ensemble"' in (tmp_path / "cascade/config.pbtxt").read_text()
    assert served(tmp_path) == 1


@pytest.mark.parametrize("layout", ["fused", "ensemble"])
def test_a_publish_killed_anywhere_changes_nothing_that_is_served(exported, tmp_path, monkeypatch, layout):
    publish(*exported, tmp_path, layout)
    kills = 0
    for place in range(1, 40):
        countdown = [place]

        def dying(original, countdown=countdown):
            def call(*given, **named):
                countdown[0] -= 1
                if countdown[0] == 0:
                    raise KeyboardInterrupt
                return original(*given, **named)

            return call

        with monkeypatch.context() as patch:
            patch.setattr(publishing.shutil, "copytree", dying(shutil.copytree))
            patch.setattr(publish_files, "write_manifest", dying(publish_files.write_manifest))
            patch.setattr(Path, "rename", dying(Path.rename))
            patch.setattr(Path, "replace", dying(Path.replace))
            patch.setattr(publishing, "_prune", lambda *given: None)
            try:
                publish(*exported, tmp_path, layout)
            except KeyboardInterrupt:
                kills += 1
                assert served(tmp_path) == 1
                continue
        break
    assert kills >= 4
    version = publish(*exported, tmp_path, layout)
    assert served(tmp_path) == version
    assert sorted(path.name for path in (tmp_path / "cascade").iterdir() if path.name.isdigit())[0] == "1"
    assert not [path for path in (tmp_path / "cascade").iterdir() if path.name.startswith(".") and path.is_dir()]


@pytest.mark.parametrize("layout", ["fused", "ensemble"])
def test_bytecode_that_a_server_left_behind_is_not_published(exported, tmp_path, layout):
    leftovers = [path / "__pycache__" for path in (exported[0].folder("repo") / layout).rglob("*") if path.is_dir()]
    for leftover in leftovers:
        leftover.mkdir()
        (leftover / "model.pyc").write_bytes(b"old")
    publish(*exported, tmp_path, layout)
    for leftover in leftovers:
        shutil.rmtree(leftover)
    assert leftovers
    assert not list(tmp_path.rglob("__pycache__"))


def test_an_altered_older_version_is_not_rolled_back_to(exported, tmp_path):
    publish(*exported, tmp_path, "fused")
    publish(*exported, tmp_path, "fused")
    with (tmp_path / "cascade/1/chain/popular.npy").open("r+b") as file:
        file.truncate(10)
    with pytest.raises(ArtefactError, match="has 10 bytes"):
        rollback(tmp_path)
    assert served(tmp_path) == 2


def test_refusals(exported, tmp_path):
    run, config = exported
    with pytest.raises(ArtefactError, match="has no layout 'nested'"):
        publish(run, config, tmp_path, "nested")
    with pytest.raises(ArtefactError, match="holds no published model"):
        rollback(tmp_path / "nothing")
    (tmp_path / "cascade").mkdir()
    (tmp_path / "cascade/config.pbtxt").write_text('name: "cascade"\n')
    with pytest.raises(ArtefactError, match="was not written by cascade export"):
        publish(run, config, tmp_path, "fused")


def test_one_publisher_at_a_time(exported, tmp_path):
    publish(*exported, tmp_path, "fused")
    with another(tmp_path / "cascade", writes="versions") as process:
        with pytest.raises(ArtefactError, match=rf"cascade is being written by .*process {process.pid}"):
            publish(*exported, tmp_path, "fused")
        with pytest.raises(ArtefactError, match="cascade is being written by"):
            rollback(tmp_path)
    assert publish(*exported, tmp_path, "fused") == 2


def test_an_export_that_is_older_than_its_stages_is_refused(exported, tmp_path):
    run, config = exported
    copied = Run(tmp_path / "run")
    shutil.copytree(run.root, copied.root)
    other, _ = make_run(tmp_path / "other", num_users=20, num_items=60, seed=5)
    shutil.rmtree(copied.folder("ranking"))
    shutil.copytree(other.folder("ranking"), copied.folder("ranking"))
    with pytest.raises(ArtefactError, match=r"(ranking|repo) .* was made from other"):
        publish(copied, config, tmp_path / "target", "fused")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("layout", ["fused", "ensemble"])
def test_an_export_without_a_plan_or_with_a_step_that_is_not_here_is_refused(exported, tmp_path, layout):
    run, config = exported
    folder = run.folder("repo") / layout / "cascade/1"
    plan = next(path for path in (folder / "plan.json", folder / "chain/plan.json") if path.is_file())
    text = plan.read_text()
    try:
        plan.write_text(text.replace("runtime.steps.rank:Rank", "no_such_file:Rank"))
        sign_again(run)
        with pytest.raises(ArtefactError, match="cannot be published here: the step no_such_file:Rank"):
            publish(run, config, tmp_path / "models", layout)
        plan.unlink()
        sign_again(run)
        with pytest.raises(ArtefactError, match=r"has no plan.json: an earlier release exported it"):
            publish(run, config, tmp_path / "models", layout)
    finally:
        plan.write_text(text)
        sign_again(run)
    assert not (tmp_path / "models").exists()
