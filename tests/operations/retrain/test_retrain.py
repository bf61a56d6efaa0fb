"""`cascade retrain` from run to release: everything is real but the training, for which a made run stands in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ensemble.evaluation.stage import evaluate
from ensemble.export.stage import export
from ensemble.history import history_of
from ensemble.publish import rollback
from ensemble.serving.repository import served_number
from scripts.cli import app
from tests.ensemble.test_evaluation import add_split, make_evaluated_run, random_events
from tests.holder import another
from tests.operations.made_runs import later, ranker_scores
from workflows.core.artefacts import read_manifest, write_manifest
from workflows.core.errors import CascadeError
from workflows.core.run import STAGES, Run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """Runs on two days' data."""
    root, runs = tmp_path_factory.mktemp("trained"), []
    with ranker_scores():
        for day in range(2):
            run, config = make_evaluated_run(root / str(day))
            add_split(run, "test", random_events(9 + day))
            later(run, day * 10**15)
            evaluate(run, config)
            export(run, config)
            runs.append(run.root)
        yield runs


class Nightly:
    """The command, and the data of the night."""

    def __init__(self, root: Path, trained: list[Path], patch: pytest.MonkeyPatch) -> None:
        self.runs, self.repository, self.trained, self.day = root / "runs", root / "triton_repo", trained, 0
        self.fails = ""
        (root / "shop.toml").write_text("[data]\nevents = 'e'\nuser_id = 'u'\nitem_id = 'i'\ntimestamp = 't'\n")
        self.config = root / "shop.toml"
        patch.setattr("scripts.retrain.all_stages", self.train)

    def train(self, run: Run, *_: object, **__: object) -> None:
        """Take what the day's data give: the stages that are there already stay."""
        if self.fails:
            raise CascadeError(self.fails)
        for stage in STAGES:
            made, there = self.trained[self.day] / stage / "manifest.json", run.root / stage / "manifest.json"
            if made.exists() and (not there.exists() or there.read_bytes() != made.read_bytes()):
                shutil.rmtree(there.parent, ignore_errors=True)
                shutil.copytree(made.parent, there.parent)

    def __call__(self, *more: str) -> Result:
        given = ["--config", str(self.config), "--out", str(self.runs), "--publish", str(self.repository)]
        limits = ["--set", "gate.cutoff=5", "--set", "gate.num_bootstrap=100"]
        return CliRunner().invoke(app, ["retrain", *given, *limits, *more])

    def outcomes(self) -> list[str]:
        return [json.loads(path.read_text())["verdict"] for path in sorted(self.runs.glob("*/retrained.json"))]


@pytest.fixture
def nightly(tmp_path, trained, monkeypatch) -> Nightly:
    return Nightly(tmp_path, trained, monkeypatch)


def test_the_first_version_is_published_and_a_night_without_new_data_makes_nothing(nightly):
    first = nightly()
    assert first.exit_code == 0, first.output
    assert first.stdout.startswith("retrain: RELEASE: version 1 is published from ")
    second = nightly()
    assert second.exit_code == 3 and "no data or settings are new" in second.stdout and "version 1" in second.stdout
    assert nightly.outcomes() == ["RELEASE"] and served_number(nightly.repository) == "1"
    assert [line.what for line in history_of(nightly.repository)] == ["published", "retrained", "retrained"]


def test_new_data_are_gated_and_the_reason_is_kept(nightly):
    nightly()
    nightly.day = 1
    found = nightly()
    assert found.exit_code in (3, 4), found.output
    verdict = {3: "HOLD", 4: "REJECT"}[found.exit_code]
    assert found.stdout.startswith(f"retrain: {verdict}: nothing is published from ")
    assert nightly.outcomes() == ["RELEASE", verdict]
    gate = history_of(nightly.repository)[-2]
    assert (gate.what, gate.verdict, gate.version) == ("gate", verdict, 1) and gate.why in found.stdout
    # The held candidate is asked about again, for what is served has grown older, and no run is made for it.
    assert nightly().exit_code == found.exit_code and len(nightly.outcomes()) == 2


def test_a_released_candidate_that_was_withdrawn_is_not_published_again(nightly):
    nightly()
    nightly.day = 1
    nightly("--set", "gate.max_loss=1.0", "--set", "gate.max_slice_loss=1.0")
    # Without a reason to release it is held; so somebody publishes it.
    options = ["--config", str(nightly.config), "--out", str(sorted(nightly.runs.glob("2*"))[-1])]
    target = ["--publish", str(nightly.repository), "--gate", "--override", "as I say", "--set", "gate.cutoff=5"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scripts.export.export_stage", lambda *_: None)
        assert CliRunner().invoke(app, ["export", *options, *target]).exit_code == 0
    rollback(nightly.repository, "slates of one item")
    found = nightly()
    assert found.exit_code in (3, 4), found.output
    assert "had this very export, and it was withdrawn at" in found.stdout and "slates of one item" in found.stdout
    assert served_number(nightly.repository) == "1"


def test_a_command_that_was_ended_after_it_had_published_is_told_as_one_that_did(nightly):
    nightly()
    next(nightly.runs.glob("*/retrained.json")).unlink()
    found = nightly()
    assert found.exit_code == 0 and "published by a command that was ended" in found.stdout
    assert nightly.outcomes() == ["RELEASE"] and served_number(nightly.repository) == "1"


def test_what_a_publication_left_that_was_ended_is_no_version(nightly):
    (nightly.repository / "cascade/.1.new").mkdir(parents=True)
    assert nightly().exit_code == 0
    assert [path.name for path in nightly.repository.glob("cascade/[0-9]*")] == ["1"]


def test_a_retraining_that_fails_says_so_where_the_operator_looks_and_goes_on_the_next_night(nightly):
    nightly()
    nightly.day, nightly.fails = 1, "prepare: the disk is full"
    found = nightly()
    assert (found.exit_code, found.stdout) == (1, "")
    line = history_of(nightly.repository)[-1]
    assert (line.what, line.verdict, line.why) == ("retrained", "FAILED", "prepare: the disk is full")
    nightly.fails = ""
    assert nightly().exit_code in (3, 4) and len(nightly.outcomes()) == 2


def test_two_at_once_are_refused_and_the_second_names_the_first(nightly):
    nightly.runs.mkdir()
    with another(nightly.runs, writes="runs") as process:
        found = nightly()
    assert found.exit_code == 1 and f"process {process.pid}" in found.stderr
    assert nightly().exit_code == 0


def test_another_report_of_the_same_models_is_kept_and_nothing_is_published(nightly, trained, tmp_path):
    nightly()
    nightly.trained = [Path(shutil.copytree(trained[0], tmp_path / "again"))]
    report = nightly.trained[0] / "report"
    (report / "more.json").write_text("{}")
    write_manifest(report, read_manifest(report))
    found = nightly()
    assert found.exit_code == 3 and "no data or settings of a model are new; version 1 has" in found.stdout
    assert nightly.outcomes() == ["RELEASE", "HOLD"] and served_number(nightly.repository) == "1"
