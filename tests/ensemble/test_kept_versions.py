"""A version stays as long as logged requests name it, a withdrawn one too."""

from __future__ import annotations

import json
import shutil

import pytest

import ensemble.publish as publishing
from ensemble.kept_versions import claim, claimed_keys, removed_at
from ensemble.publish import rollback
from operations.log.collect import collect
from operations.log.prune import prune
from operations.replay.replay import replay
from runtime.log.folder import make_log
from runtime.log.identity import chain_key
from runtime.log.segments import read_segment, ready_segments
from tests.operations.repository import answer_some, publish_golden
from tests.runtime.log.made import segment

LAYOUTS = ("fused", "ensemble")


def there(target):
    """The versions, and those of the step models."""
    versions = sorted(path.name for path in (target / "cascade").iterdir() if path.is_dir() and path.name != ".logs")
    return versions, sorted({path.name.split("_")[1] for path in target.glob("cascade_v*")})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_version_that_a_log_names_outlives_its_turn(tmp_path, layout):
    target, log = tmp_path / "published", tmp_path / "LOG"
    folders = [publish_golden(target, version, layout) for version in (1, 2, 3)]
    answer_some(log, folders[0], 2)
    assert claim(target, log, ())
    publishing._prune(target, keep=1)
    assert there(target) == (["1", "3"], ["v1", "v3"] if layout == "ensemble" else [])
    assert removed_at(target, 2).startswith("20")
    assert removed_at(target, 1) == ""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_withdrawn_version_is_asked_again_until_its_requests_are_pruned(tmp_path, layout):
    target, log, mon = tmp_path / "published", tmp_path / "LOG", tmp_path / "MON"
    for version in (1, 2):
        folder = publish_golden(target, version, layout)
    answer_some(log, folder, 2)
    assert claim(target, log, ())
    assert rollback(target) == 1
    collect(log, mon)
    publish_golden(target, 3, layout)
    publishing._prune(target, keep=1)
    assert there(target) == ([".2.withdrawn", "3"], ["v2", "v3"] if layout == "ensemble" else [])
    assert replay(mon, last=2).differing == {}
    # Their day passes.
    for day in mon.glob("requests/*/date=*"):
        day.rename(day.with_name("date=2020-01-01"))
    prune(mon, 30)
    publishing._prune(target, keep=1)
    assert there(target) == (["3"], ["v3"] if layout == "ensemble" else [])
    assert removed_at(target, 2).startswith("20")


def test_what_is_on_its_way_counts(tmp_path):
    target, log = tmp_path / "published", tmp_path / "LOG"
    folder = publish_golden(target, 1)
    make_log(log)
    claim(target, log, ())
    assert claimed_keys(target) == {}
    answer_some(log, folder, 1)
    assert claimed_keys(target) == {chain_key(folder): str(log)}
    (path,) = ready_segments(log)
    header = read_segment(path).header
    path.unlink()
    segment(log / "open/a.open", [], **header)
    assert claimed_keys(target) == {chain_key(folder): str(log)}


def test_claims_of_folders_that_are_gone_and_files_that_are_none_cost_nothing(tmp_path):
    target, log = tmp_path / "published", tmp_path / "LOG"
    answer_some(log, publish_golden(target, 1), 1)
    claim(target, log, ())
    shutil.rmtree(log)
    (target / "cascade/.logs/other.json").write_text("no claim")
    assert claimed_keys(target) == {}


def test_a_claim_without_chains_ends(tmp_path):
    target, mon = tmp_path / "published", tmp_path / "MON"
    publish_golden(target, 1)
    claim(target, mon, {"a"})
    (path,) = (target / "cascade/.logs").iterdir()
    assert json.loads(path.read_text()) == {"folder": str(mon), "chain_keys": ["a"]}
    claim(target, mon, ())
    assert not path.exists()


def test_what_is_not_published_has_nothing_to_keep(tmp_path):
    assert not claim(tmp_path, tmp_path / "LOG", {"a"})
