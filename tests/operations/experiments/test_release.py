"""An experiment from its config to its end, on a published repository without a server."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cascade_client.assignment import Experiments, read_experiments
from ensemble.config import ChainConfig, Config
from ensemble.config_experiments import ExperimentConfig, HoldoutConfig, VariantConfig
from ensemble.config_file import load_config
from ensemble.export.pbtxt import served_version
from ensemble.export.stage import export
from ensemble.publish import publish
from ensemble.serving.repository import find_repository
from ensemble.variants import variant_versions
from operations.experiments import release
from operations.experiments.plan import lines, planned, stages_of
from operations.experiments.record import Record, Running, read_record
from operations.experiments.release import Servers, keep, start, stop, to_stage, withdraw_variant
from operations.experiments.watch import look_at
from scripts.cli import app
from tests.ensemble.synthetic import make_run
from tests.ensemble.synthetic_stream import STREAM_FEATURES
from workflows.core.errors import ArtefactError, CascadeError, ConfigError
from workflows.core.run import Run

NOBODY = Servers([], "", drain_s=0.0)
STAGES = (0.01, 0.05, 0.2, 0.5, 1.0)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Config]:
    run, config = make_run(tmp_path_factory.mktemp("release") / "run", num_users=20, num_items=60)
    export(run, config)
    return run, config


@pytest.fixture
def target(exported: tuple[Run, Config], tmp_path: Path) -> Path:
    publish(*exported, tmp_path / "published", "fused")
    return tmp_path / "published"


def wanted(run: str = "", **given: object) -> ExperimentConfig:
    return ExperimentConfig(variants=(VariantConfig(name="a"), VariantConfig(name="b", run=run)), **given)  # type: ignore[arg-type]


def config(exported: tuple[Run, Config], **given: object) -> Config:
    return Config(
        chain=exported[1].chain,
        experiments={"e": wanted(str(exported[0].root), **given)},
        holdout=HoldoutConfig(share=0.1),
    )


def known(target: Path) -> Experiments:
    """What a client knows."""
    return read_experiments(json.loads((target / "experiments.json").read_text()))


def served(target: Path) -> int:
    return served_version((target / "cascade/config.pbtxt").read_text())


def test_users_enter_stage_by_stage_and_none_changes_sides(exported, target) -> None:
    started = start(config(exported), "e", target, "fused", NOBODY)
    assert (started.control.version, started.variant("b").version, started.stage) == (1, 2, 0)
    assert served(target) == 1 and known(target).holdout == 0.1
    users, stages = range(5_000), []
    for stage, share in enumerate(STAGES):
        if stage:
            to_stage(target, "e", stage)
        stages.append(known(target).assign_many(users))
        inside = [each for each in stages[-1] if each.label]
        assert len(inside) / len(users) == pytest.approx(0.9 * share, abs=0.02)
        assert {(each.label, each.model) for each in inside} <= {("e=a", ""), ("e=b", "cascade_v2")}
    for before, after in itertools.pairwise(stages):
        assert all(old == new for old, new in zip(before, after, strict=True) if old.label)
    with pytest.raises(CascadeError, match="at its last stage"):
        to_stage(target, "e", len(STAGES))


def test_a_variant_that_is_withdrawn_has_nobody_and_the_control_stays(exported, target) -> None:
    start(config(exported, stages=(1.0,)), "e", target, "fused", NOBODY)
    before = known(target).assign_many(range(1_000))
    withdraw_variant(target, "e", "b", "too slow", NOBODY)
    after = known(target).assign_many(range(1_000))
    assert all(new == (old if old.label == "e=a" else type(old)()) for old, new in zip(before, after, strict=True))
    side = read_record(target).find("e").variant("b")
    assert (side.withdrawn, side.model) == ("too slow", "") and side.withdrawn_at
    assert read_record(target).find("e").is_over
    assert not (target / "cascade_v2").exists() and not (target / "cascade/2").exists()
    # What is withdrawn comes back with no stage.
    to_stage(target, "e", 0)
    assert known(target).experiments[0].variants[1].end == known(target).experiments[0].variants[1].start


def test_the_end_is_the_served_version_or_the_one_that_is_kept(exported, target) -> None:
    start(config(exported), "e", target, "fused", NOBODY)
    stop(target, "e", NOBODY)
    assert served(target) == 1 and known(target).experiments == () and not (target / "cascade_v2").exists()
    start(config(exported), "e", target, "fused", NOBODY)
    with pytest.raises(CascadeError, match="'a' is what is served already"):
        keep(target, "e", "a", NOBODY)
    with pytest.raises(CascadeError, match="no variant 'c'; it has a, b"):
        keep(target, "e", "c", NOBODY)
    keep(target, "e", "b", NOBODY)
    assert served(target) == 3 and known(target).experiments == () and not (target / "cascade_v3").exists()


def test_a_salt_that_was_used_is_said(exported, target, capsys) -> None:
    start(config(exported), "e", target, "fused", NOBODY)
    stop(target, "e", NOBODY)
    capsys.readouterr()
    start(config(exported), "e", target, "fused", NOBODY)
    said = capsys.readouterr().err
    assert "the salt 'e-1' was that of an experiment that has ended" in said
    assert "without --url no running server was told: it has cascade_v3 once" in said
    stop(target, "e", NOBODY)
    start(config(exported, salt="e-2"), "e", target, "fused", NOBODY)
    assert "the salt" not in capsys.readouterr().err
    assert read_record(target).used == ["e-1"]
    # Clients read the file all the same.
    assert known(target).experiments[0].salt == "e-2"


@pytest.mark.parametrize("fails", ["publish", "load"])
def test_a_start_that_fails_leaves_nothing(exported, target, monkeypatch, fails) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise CascadeError("no")

    if fails == "publish":
        monkeypatch.setattr(release, "publish", refuse)
    else:
        monkeypatch.setattr(Servers, "load", refuse)
    with pytest.raises(CascadeError, match="no"):
        start(config(exported), "e", target, "fused", NOBODY)
    assert known(target).experiments == () and served(target) == 1 and read_record(target).used == []
    assert not list(target.glob("cascade_v*")) and not (target / "cascade/2").exists()


def test_a_start_on_a_server_that_is_away_leaves_nothing(exported, target) -> None:
    with pytest.raises(CascadeError, match="no Cascade server was reached"):
        start(config(exported), "e", target, "fused", Servers(["127.0.0.1:9"], "", drain_s=0.0))
    assert known(target).experiments == () and served(target) == 1
    assert not list(target.glob("cascade_v*")) and not (target / "cascade/2").exists()


def test_what_cannot_start_is_refused_before_anything_changes(exported, target) -> None:
    for changed, why in (
        ({"e": wanted(str(target))}, "has no export with the layout 'fused'"),
        ({"f": wanted()}, r"no \[experiments.e\]; it has f"),
    ):
        with pytest.raises((ArtefactError, ConfigError), match=why):
            start(Config(experiments=changed), "e", target, "fused", NOBODY)
        assert not (target / "experiments.json").exists()
    with pytest.raises(ArtefactError, match="holds no published model"):
        start(config(exported), "e", target / "nowhere", "fused", NOBODY)
    start(config(exported), "e", target, "fused", NOBODY)
    with pytest.raises(CascadeError, match="runs already"):
        start(config(exported), "e", target, "fused", NOBODY)


def test_a_start_that_was_killed_is_said_and_can_be_stopped(exported, target, monkeypatch) -> None:
    monkeypatch.setattr(release, "_remove", lambda *_: None)
    monkeypatch.setattr(release, "publish", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        start(config(exported), "e", target, "fused", NOBODY)
    monkeypatch.undo()
    assert known(target).assign_many(range(1_000)) == Experiments().assign_many(range(1_000))
    with pytest.raises(CascadeError, match="was ended before it was done; stop it"):
        look_at(target, target, "e")
    stop(target, "e", NOBODY)
    assert known(target).experiments == ()


def test_a_server_that_is_away_keeps_no_user_with_what_is_worse(exported, target, capsys) -> None:
    start(config(exported, stages=(1.0,)), "e", target, "fused", NOBODY)
    withdraw_variant(target, "e", "b", "too slow", Servers(["127.0.0.1:9"], "", drain_s=0.0))
    assert "cascade_v2 stays until cascade experiment stop e" in capsys.readouterr().err
    assert {each.label for each in known(target).assign_many(range(100))} == {"", "e=a"}
    stop(target, "e", NOBODY)
    assert not (target / "cascade_v2").exists()


def test_a_chain_with_other_live_events_is_no_variant(exported, target, tmp_path) -> None:
    run, other = make_run(tmp_path / "live", num_users=20, num_items=80, stream=STREAM_FEATURES)
    export(run, other)
    with pytest.raises(ArtefactError, match="keeps other things of live events"):
        start(config((run, exported[1])), "e", target, "fused", NOBODY)


def test_all_users_of_an_interleaved_experiment_are_asked_of_the_model_that_drafts(exported, target) -> None:
    started = start(config(exported, kind="interleave"), "e", target, "fused", NOBODY)
    assert [(side.name, side.model, side.version) for side in started.variants] == [
        ("a", "", 1),
        ("b", "cascade_v2", 2),
        ("both", "cascade_v3", 3),
    ]
    assert started.guardrails == ["errors"] and served(target) == 1
    told = "\n".join(lines(started, 0.1))
    assert "stage 3: both 18%" in told and "b 0%" not in told
    before = known(target).assign_many(range(3_000))
    assert {(each.label, each.model) for each in before} == {("", ""), ("e=both", "cascade_v3")}
    to_stage(target, "e", 4)
    after = known(target).assign_many(range(3_000))
    assert all(new == old for old, new in zip(before, after, strict=True) if old.label)
    assert sum(bool(each.label) for each in after) > 2_500
    # Whoever publishes meanwhile leaves both, and they are verified with what is served.
    publish(*exported, target, "fused")
    assert find_repository(target) == target and variant_versions(target) == {2, 3}
    withdraw_variant(target, "e", "b", "errors", NOBODY)
    assert read_record(target).find("e").is_over and not list(target.glob("cascade_v*"))
    assert {each.label for each in known(target).assign_many(range(1_000))} == {""}
    stop(target, "e", NOBODY)
    start(config(exported, kind="interleave"), "e", target, "fused", NOBODY)
    with pytest.raises(CascadeError, match="'both' is no version but slates of two"):
        keep(target, "e", "both", NOBODY)
    keep(target, "e", "b", NOBODY)
    assert served(target) > 4 and not list(target.glob("cascade_v*"))


def test_versions_that_do_not_take_the_same_requests_are_not_interleaved(exported, target, tmp_path) -> None:
    small = ChainConfig(num_candidates=30, slate_size=5, max_slate_size=6, layouts=("fused",))
    run, _ = make_run(tmp_path / "small", num_users=20, num_items=60, chain=small)
    export(run, Config(chain=small))
    with pytest.raises(
        ArtefactError, match=r"be drafted into one: chain.max_slate_size is \d+ of what is served and 6"
    ):
        start(config((run, exported[1]), kind="interleave"), "e", target, "fused", NOBODY)
    assert not (target / "experiments.json").exists()


def running(**given: object) -> Running:
    return planned(Config(experiments={"old": wanted(**given)}), "old", Record())


def test_experiments_of_a_layer_lie_beside_each_other() -> None:
    record = Record([running(traffic=0.3)])
    found = planned(Config(experiments={"e": wanted(traffic=0.5)}), "e", record)
    assert (found.start, found.end) == (0.3, 0.8)
    record.experiments.append(found)
    # What the first had is free once it has ended.
    del record.experiments[0]
    assert planned(Config(experiments={"f": wanted(traffic=0.3)}), "f", record).start == 0.0
    with pytest.raises(CascadeError, match=r"wants 0.4 of layer 'serving', of which 0.5 is free"):
        planned(Config(experiments={"f": wanted(traffic=0.4)}), "f", record)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ({"salt": "s"}, {"salt": "s", "layer": "other"}, "the same salt 's'"),
        ({"run": "x", "layer": "first"}, {"run": "y"}, "can be served one alone"),
    ],
)
def test_what_would_stand_in_the_way_of_another_is_refused(old: dict, new: dict, why: str) -> None:
    record = Record([running(**old)])
    for side in record.experiments[0].variants[1:]:
        side.model = "cascade_v2" if old.get("run") else ""
    with pytest.raises(CascadeError, match=why):
        planned(Config(experiments={"e": wanted(**new)}), "e", record)


def test_weights_are_shares() -> None:
    variants = tuple(VariantConfig(name=name, weight=weight) for name, weight in (("a", 8), ("b", 1), ("c", 1)))
    found = planned(Config(experiments={"e": ExperimentConfig(variants=variants)}), "e", Record())
    assert [side.weight for side in found.variants] == pytest.approx([0.8, 0.1, 0.1])
    found.set_stage(1)
    assert [(side.start, side.end) for side in found.variants] == [
        (0.0, pytest.approx(0.04)),
        (0.8, pytest.approx(0.805)),
        (0.9, pytest.approx(0.905)),
    ]
    assert "stage 2: a 4%, b 0.5%, c 0.5% <- now" in "\n".join(lines(found, 0.0))
    shown = stages_of(found, 0.0)
    assert shown.stage == 2 and shown.stages[1] == pytest.approx({"a": 0.04, "b": 0.005, "c": 0.005})


TABLE = """
[data]
source = "shop"
timestamp = "timestamp"
labels = ["click"]
[experiments.e]
variants = [{ name = "a" }, { name = "b", run = "runs/b" }]
"""


def test_a_check_says_what_stages_have_and_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(TABLE)
    command = ["experiment", "check", "--config", str(path), "--repo", str(tmp_path / "none")]
    (found,) = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert found["name"] == "e" and found["stages"][-1] == pytest.approx({"a": 0.5, "b": 0.5})
    path.write_text(TABLE.partition("[experiments")[0])
    refused = CliRunner().invoke(app, [*command, "--json"])
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "there is no section [experiments.NAME]" in refused.stderr


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("experiments.e.variants=[{name='a'}]", "two or more with different names"),
        ("experiments.e.variants=[{name='a'}, {name='a'}]", "two or more with different names"),
        ("experiments.e.variants=[{name='a', run='r'}, {name='b'}]", "'a', is the control"),
        ("experiments.e.variants=[{name='a b'}, {name='b'}]", "a name is 1 to 40 letters"),
        ("experiments.e.stages=[0.5, 0.2]", "must be above 0 and grow"),
        ("experiments.e.stages=[]", "must be above 0 and grow"),
        ("experiments.e.traffic=0.0", "traffic and alpha must be above 0"),
        ("experiments.e.traffic=1.5", "traffic"),
        ("experiments.e.metric=p95_ms", "a guardrail alone"),
        (f"experiments.e.salt={'s' * 60}", "at most 56 bytes"),
        ("experiments.f={variants=[{name='a'}, {name='b'}]}", "have 2 of the users"),
        ("experiments.f={layer='x', variants=[{name='a'}, {name='b', run='r'}]}", "one version alone: use one layer"),
        ("experiments.e={kind='interleave', metric='errors', variants=[{name='a'}, {name='b', run='r'}]}", "is a vote"),
        (
            "experiments.e={kind='interleave', guardrails=['opt_out'], variants=[{name='a'}, {name='b', run='r'}]}",
            "not opt",
        ),
        ("experiments.e={kind='interleave', variants=[{name='a'}, {name='b'}]}", "the control and one with a run"),
        ("experiments.e={kind='interleave', variants=[{name='a', weight=2}, {name='b', run='r'}]}", "have no weights"),
        ("experiments.e={kind='interleave', variants=[{name='a'}, {name='both', run='r'}]}", "another name"),
        ("experiments.e.kind='both'", "kind"),
        (f"holdout.salt={'s' * 60}", "holdout.salt must be at most 56 bytes"),
    ],
)
def test_a_config_that_cannot_work_is_refused(tmp_path: Path, override: str, why: str) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(TABLE)
    assert list(load_config(path).experiments) == ["e"]
    with pytest.raises(ConfigError, match=why):
        load_config(path, [override])


@pytest.mark.parametrize("kind", ["split", "interleave"])
def test_a_version_that_is_gone_can_still_be_stopped_and_is_not_kept(exported, target, kind) -> None:
    start(config(exported, kind=kind, stages=(1.0,)), "e", target, "fused", NOBODY)
    shutil.rmtree(target / "cascade/2")
    with pytest.raises(CascadeError, match=r"cascade/2"):
        keep(target, "e", "b", NOBODY)
    assert read_record(target).find("e").stage == 0 and served(target) == 1
    # Whoever publishes, or takes the variant away, is not stopped by it.
    publish(*exported, target, "fused")
    withdraw_variant(target, "e", "b", "gone", NOBODY)
    stop(target, "e", NOBODY)
    assert known(target).experiments == () and not list(target.glob("cascade_v*"))


def test_two_who_end_an_experiment_at_once_leave_it_ended(exported, target, monkeypatch) -> None:
    start(config(exported, stages=(1.0,)), "e", target, "fused", NOBODY)
    promote = release.promote

    def stopped_meanwhile(*given: Any) -> None:
        promote(*given)
        stop(target, "e", NOBODY)

    monkeypatch.setattr(release, "promote", stopped_meanwhile)
    with pytest.raises(CascadeError, match="no experiment 'e' runs here"):
        keep(target, "e", "b", NOBODY)
    # What was kept is served, and its version is there.
    assert served(target) == 2 and (target / "cascade/2").is_dir() and known(target).experiments == ()
