"""The gate on whole runs: what it reads, whom it asks, what it writes, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import shutil

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from ensemble.evaluation.chain_source import query_chain
from ensemble.evaluation.gate_config import GateConfig
from ensemble.export.stage import export
from ensemble.publish import publish
from models.metrics.ranking import per_user
from operations.gate.candidate import open_candidate
from operations.gate.gate import gate
from operations.gate.quality import compare, had_since
from operations.gate.rows import Quality
from operations.gate.served import open_served
from operations.log.collect import collect
from scripts.cli import app
from scripts.export import publish_through_gate
from tests.ensemble.synthetic import sign_again
from tests.ensemble.test_evaluation import add_split, make_evaluated_run, random_events
from tests.operations.made_runs import ranker_scores
from tests.operations.repository import answer_some
from workflows.core.artefacts import read_manifest
from workflows.core.errors import ArtefactError, CascadeError
from workflows.core.run import Run

pytestmark = pytest.mark.slow

LIMITS = GateConfig(cutoff=5, min_slice_users=10, num_bootstrap=200)


@pytest.fixture(scope="module", autouse=True)
def scores():
    with ranker_scores():
        yield


def test_on_the_same_tables_the_two_reports_are_compared(world):
    root, _, (same, _), _ = world
    candidate = open_candidate(same)
    found = compare(candidate, open_served(root / "published", candidate), LIMITS)
    assert isinstance(found.quality, Quality) and found.quality.how.startswith(f"the report of {root / 'first'}")
    means = [json.loads((root / name / "report/metrics.json").read_text()) for name in ("same", "first")]
    expected = [metrics["sources"]["chain"]["ndcg@5"]["value"] for metrics in means]
    assert [found.quality.candidate.mean(), found.quality.served.mean()] == pytest.approx(expected)
    assert not np.array_equal(found.quality.candidate, found.quality.served)


def test_a_feature_more_is_compared_on_the_same_tables_too(world, tmp_path):
    """Which columns the models read is a file of the stage; the tables themselves are what they were."""
    root, _, (same, _), _ = world
    run = Run(tmp_path / "more")
    shutil.copytree(same.root, run.root)
    (run.folder("data") / "config.json").write_text('{"used": {"features.users.more": {}}}')
    sign_again(run)
    candidate = open_candidate(run)
    assert read_manifest(run.folder("data")).content != read_manifest(Run(root / "first").folder("data")).content
    found = compare(candidate, open_served(root / "published", candidate), LIMITS)
    assert isinstance(found.quality, Quality) and found.quality.how.startswith(f"the report of {root / 'first'}")
    events = next(run.folder("data").glob("test/*.parquet"))
    events.write_bytes(events.read_bytes() + b" ")
    sign_again(run)
    other = compare(candidate, open_served(root / "published", candidate), LIMITS)
    assert not isinstance(other.quality, Quality) or "the report of" not in other.quality.how


@pytest.mark.parametrize("repository", ["published", "steps"])
def test_on_newer_events_the_served_version_is_asked_again(world, repository):
    """Its slates are those of its chain, opened here."""
    root, _, _, (newer, _) = world
    candidate = open_candidate(newer)
    served = open_served(root / repository, candidate)
    assert served.newest < candidate.queries.at.min()
    found = compare(candidate, served, LIMITS)
    assert isinstance(found.quality, Quality) and "asked again" in found.quality.how
    assert len(found.quality.served) == len(candidate.queries)
    chain = root / "published/cascade/1/chain"
    slates = query_chain(chain, candidate.queries, candidate.user_ids, candidate.item_ids, 20)[-1]
    expected = per_user(slates.rows, candidate.queries.indptr, candidate.queries.rows, [5])["ndcg@5"]
    assert expected.mean() > 0
    np.testing.assert_array_equal(found.quality.served, expected)


def test_only_users_of_whom_the_served_version_knows_no_test_event_count(world):
    root, _, _, (newer, _) = world
    candidate = open_candidate(newer)
    at = candidate.queries.at.copy()
    at[::2] = 0
    object.__setattr__(candidate, "queries", msgspec.structs.replace(candidate.queries, at=at))
    found = compare(candidate, open_served(root / "published", candidate), LIMITS)
    assert isinstance(found.quality, Quality)
    assert len(found.quality.served) == len(at) // 2


def test_what_users_did_since_is_told_to_a_version_with_live_events(world, tmp_path):
    root, _, _, (newer, _) = world
    copied = Run(shutil.copytree(newer.root, tmp_path / "run"))
    add_split(copied, "train", random_events(4))
    candidate = dataclasses.replace(open_candidate(newer), run=copied)
    served = dataclasses.replace(open_served(root / "published", candidate), newest=300_000)
    part = np.arange(0, len(candidate.queries), 2)
    events = pq.read_table(copied.folder("data") / "train" / "part_000.parquet").to_pylist()
    events += pq.read_table(copied.folder("data") / "valid").to_pylist()
    late = sorted((e for e in events if e["at"] > 300_000 and e["click"] > 0.5), key=lambda e: e["at"])
    expected = [
        [e["item_row"] for e in late if e["user_row"] == user] for user in candidate.queries.user_rows[part].tolist()
    ]
    assert sum(map(len, expected)) > 50
    assert had_since(candidate, served, part) == expected


def test_gate_json_has_all_that_the_decision_rests_on(world):
    root, _, _, (newer, _) = world
    gated = gate(newer, root / "published", LIMITS)
    record = json.loads((newer.root / "gate.json").read_text())
    assert (record["verdict"], record["why"]) == (gated.verdict, gated.why)
    assert record["export"] == read_manifest(newer.folder("repo")).content
    assert (record["served"], record["limits"]["cutoff"], record["num_users"]) == (1, 5, gated.num_users)
    assert {"name", "value", "limit", "met", "missing"} <= record["rows"][0].keys()
    twice = next(row for row in record["rows"] if row["name"] == "own answers that differ a second time")
    assert (twice["value"], twice["met"]) == (0.0, True)


def test_the_export_that_is_served_gains_nothing(world):
    root, (run, _), _, _ = world
    gated = gate(run, root / "published", LIMITS)
    assert gated.verdict == "HOLD" and "this export is what version 1 already serves" in gated.why


def test_without_the_served_versions_run_and_newer_events_it_is_held(world, tmp_path):
    _, (run, config), (same, _), _ = world
    gone = Run(tmp_path / "gone")
    shutil.copytree(run.root, gone.root)
    publish(gone, config, tmp_path / "published", "fused")
    shutil.rmtree(gone.root)
    gated = gate(same, tmp_path / "published", LIMITS)
    assert gated.verdict == "HOLD" and "keep the run that it was published from" in gated.why


def test_an_older_report_without_targets_is_held(world, tmp_path):
    root, _, _, (newer, _) = world
    shutil.copytree(newer.root, tmp_path / "run")
    path = tmp_path / "run/report/metrics.json"
    metrics = json.loads(path.read_text())
    del metrics["targets"]
    path.write_text(json.dumps(metrics))
    sign_again(Run(tmp_path / "run"))
    gated = gate(Run(tmp_path / "run"), root / "published", LIMITS)
    assert gated.verdict in ("HOLD", "REJECT")
    assert any(row.name == "evaluate.targets" and row.missing for row in gated.rows)


def test_what_cannot_be_compared_is_refused_in_one_sentence(world, tmp_path):
    root, (run, _), (same, _), _ = world
    with pytest.raises(ArtefactError, match="serves nothing yet"):
        gate(same, tmp_path / "nothing", LIMITS)
    with pytest.raises(ArtefactError, match="no published version"):
        gate(same, run.root, LIMITS)
    with pytest.raises(ArtefactError, match="have no NDCG@21"):
        gate(same, root / "published", GateConfig(cutoff=21))
    shutil.copytree(same.root, tmp_path / "bare")
    shutil.rmtree(tmp_path / "bare/report")
    with pytest.raises(ArtefactError, match=r"has no report/: run cascade evaluate"):
        gate(Run(tmp_path / "bare"), root / "published", LIMITS)
    other, other_config = make_evaluated_run(tmp_path / "other", text_ids=True)
    export(other, other_config)
    publish(other, other_config, tmp_path / "of_other", "fused")
    with pytest.raises(CascadeError, match=r"names items by text, .* by numbers: it is another product's"):
        gate(same, tmp_path / "of_other", LIMITS)


def test_an_altered_candidate_is_refused(world, tmp_path):
    root, _, (same, _), _ = world
    shutil.copytree(same.root, tmp_path / "run")
    path = tmp_path / "run/report/recommendations.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ArtefactError, match=r"recommendations\.parquet"):
        gate(Run(tmp_path / "run"), root / "published", LIMITS)


def test_logged_requests_are_asked_again_of_the_run(world, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    root, _, _, (newer, _) = world
    folder = root / "published/cascade/1"
    answer_some(tmp_path / "LOG", folder, 30, variant=str(folder))
    collect(tmp_path / "LOG", tmp_path / "MON")
    gated = gate(newer, root / "published", msgspec.structs.replace(LIMITS, min_requests=30), tmp_path / "MON")
    rows = {row.name: row for row in gated.rows}
    assert rows["requests asked again"].met
    assert rows["share of the requests at which the candidate raises"].value == 0.0
    assert json.loads((newer.root / "shadow.json").read_text())["num_requests"] == 30


def test_publishing_through_the_gate(world, tmp_path, monkeypatch):
    root, _, (same, config), _ = world
    target = shutil.copytree(root / "published", tmp_path / "published")
    config = msgspec.structs.replace(config, gate=msgspec.structs.replace(LIMITS, max_loss=0.0))
    verdict = gate(same, target, config.gate).verdict
    assert verdict != "RELEASE"
    assert publish_through_gate(same, config, target, "").verdict == verdict
    assert sorted(path.name for path in (target / "cascade").glob("[0-9]*")) == ["1"]
    assert publish_through_gate(same, config, target, "the boss wants it")[::2] == ("RELEASE", 2)
    info = read_manifest(target / "cascade/2").info
    assert info["gate"]["override"] == "the boss wants it" and info["gate"]["verdict"] == verdict


def test_a_version_published_meanwhile_is_not_replaced_unseen(world, tmp_path):
    root, (run, config), _, _ = world
    target = shutil.copytree(root / "published", tmp_path / "published")
    publish(run, config, target, "fused")
    with pytest.raises(ArtefactError, match=r"serves version 2 by now, .* compared with version 1"):
        publish(run, config, target, "fused", instead_of=1)


def test_the_command_says_its_verdict_by_exit_status(world):
    root, _, (same, _), (newer, _) = world
    given = ["--against", str(root / "published"), "--set", "gate.cutoff=5"]
    result = CliRunner().invoke(app, ["gate", str(newer.root), *given])
    verdict = json.loads((newer.root / "gate.json").read_text())["verdict"]
    assert result.exit_code == {"RELEASE": 0, "HOLD": 3, "REJECT": 4}[verdict]
    assert result.stdout.splitlines()[-1].startswith(f"{verdict}: ")
    as_json = CliRunner().invoke(app, ["gate", str(newer.root), *given, "--json"])
    assert json.loads(as_json.stdout)["verdict"] == verdict
    wrong = CliRunner().invoke(app, ["gate", str(same.root), *given[:2], "--set", "chain.slate_size=5"])
    assert wrong.exit_code == 1


@pytest.mark.parametrize(
    "options",
    [["--gate"], ["--publish", "there", "--override", "a reason"], ["--log", "MON"]],
    ids=["no repository", "no gate", "no gate"],
)
def test_options_of_export_that_say_nothing_alone_are_refused(options, tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("")
    result = CliRunner().invoke(app, ["export", "--config", str(path), "--out", str(tmp_path / "run"), *options])
    assert result.exit_code == 1
    assert not (tmp_path / "run").exists()
