"""Logged requests asked again: bit for bit of the version that answered, and what is said where that cannot be."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from ensemble.kept_versions import note_removed
from operations.folder import parquet_files
from operations.log.collect import collect
from operations.log.write import write_table
from operations.replay.errors import NotReplayableError
from operations.replay.replay import replay
from runtime.blocked import BlockedItems
from runtime.log.folder import LogSettings
from runtime.log.identity import Served, chain_key
from scripts.cli import app
from tests.operations.repository import answer_some, publish_golden
from tests.runtime.log.made import GOLDEN, Process, Request, ask
from workflows.core.errors import ArtefactError


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Two versions that have answered 20 requests each, collected."""
    root = tmp_path_factory.mktemp("replay")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # as a server has it
        for version in (1, 2):
            folder = publish_golden(root / "published", version)
            answer_some(root / "LOG", folder, 20, first=100 * version)
    collect(root / "LOG", root / "MON")
    return root


@pytest.fixture
def copied(served, tmp_path):
    """A copy of MON that may be harmed."""
    return shutil.copytree(served / "MON", tmp_path / "MON")


def changed(mon, column, change):
    """Have a column of every row changed."""
    for path in parquet_files(mon):
        table = pq.ParquetFile(path).read()
        place, field = table.column_names.index(column), table.schema.field(column)
        values = pa.array([change(value) for value in table[column].to_pylist()], field.type)
        write_table(table.set_column(place, field, values), path)


def test_every_version_that_answered_gives_the_same_bits(served):
    found = replay(served / "MON", last=100)
    assert (found.num_requests, found.differing, found.left_out) == (40, {}, {})
    assert sorted(found.versions) == ["version 1 (fused)", "version 2 (fused)"]


def test_the_latest_requests_are_asked_and_no_more(served):
    found = replay(served / "MON", last=7)
    assert found.num_requests == 7
    assert found.versions == ["version 2 (fused)"]
    done = CliRunner().invoke(app, ["replay", str(served / "MON"), "--last", "7", "--json"])
    shown = json.loads(done.stdout)
    assert (done.exit_code, shown["num_identical"], shown["num_differing"]) == (0, 7, 0)
    assert shown["versions"] == found.versions and shown["differing"] == []


def test_one_request_of_several_users(served):
    found = replay(served / "MON", request_id="request-101")
    assert (found.num_requests, found.differing) == (1, {})


def test_a_request_that_is_not_there(served):
    with pytest.raises(NotReplayableError, match="has no request request-7: it was not of the sample"):
        replay(served / "MON", request_id="request-7")


def test_one_bit_of_a_score_is_found_and_named(served, copied):
    def flip(scores):
        bits = np.array(scores, np.float32).view(np.int32)
        bits[1] ^= 1
        return bits.view(np.float32)

    changed(copied, "scores", flip)
    found = replay(copied, last=5)
    assert len(found.differing) == 5
    assert all(each.what.startswith("score[1]: was 0.") for each in found.differing.values())
    assert all(each.what.endswith(", 1 ulps apart") for each in found.differing.values())
    assert found.overlap == 1.0


def test_a_difference_in_rounding_counts_where_the_machine_is_another_one(served, copied):
    changed(copied, "scores", lambda scores: np.nextafter(np.array(scores, np.float32), np.float32(1)))
    changed(copied, "env_id", lambda _: "of another machine")
    found = replay(copied, last=5)
    assert (len(found.rounded), found.differing) == (5, {})


def test_requests_that_differed_are_asked_again_until_they_do_not(served, copied):
    whole = {path: path.read_bytes() for path in parquet_files(copied)}
    changed(copied, "item_rows", lambda rows: rows[::-1])
    assert len(replay(copied, last=3).differing) == 3
    # What another version answers says nothing of them.
    assert replay(copied, last=5, version=1).num_requests == 5
    found = replay(copied, mismatched=True)
    assert (found.num_requests, len(found.differing)) == (3, 3)
    for path, packed in whole.items():
        path.write_bytes(packed)
    assert len(replay(copied, mismatched=True, version=1).differing) == 0
    found = replay(copied, mismatched=True)
    assert (found.num_requests, found.differing) == (3, {})
    assert replay(copied, mismatched=True).num_requests == 0


def test_requests_that_differed_and_are_gone_are_left_out_once(served, copied):
    changed(copied, "item_rows", lambda rows: rows[::-1])
    replay(copied, last=40)
    gone = parquet_files(copied)[0]  # a file a chain, or more where midnight came between
    num_gone = len(pq.ParquetFile(gone).read(["request_id"])["request_id"].unique())
    gone.unlink()
    found = replay(copied, mismatched=True)
    assert (found.num_requests, found.left_out) == (
        40 - num_gone, {"it was pruned, or its user was erased": num_gone},
    )  # fmt: skip
    assert replay(copied, mismatched=True).left_out == {}


def test_another_item_is_found(served, copied):
    changed(copied, "item_rows", lambda rows: rows[::-1])
    found = replay(copied, last=5)
    assert {each.what.partition(":")[0] for each in found.differing.values()} == {"item_id[0]"}


def test_another_version_is_asked_by_raw_ids(served):
    found = replay(served / "MON", last=5, version=1)
    assert (found.versions, found.differing) == (["version 1 (fused)"], {})


def test_a_version_of_other_items_is_asked_by_raw_ids(served, tmp_path):
    """The chain of text ids knows none of them: everybody is unknown there."""
    publish_golden(tmp_path / "other", 1, variant="plain")
    found = replay(served / "MON", last=5, run=tmp_path / "other")
    assert len(found.differing) == 5
    assert found.overlap == 0.0


def test_a_copy_of_the_repository_stands_in_for_one_that_is_not_here(served, tmp_path):
    moved = shutil.copytree(served / "published", tmp_path / "elsewhere")
    found = replay(served / "MON", last=40, run=moved)
    assert (found.num_requests, found.differing) == (40, {})
    # Each request is asked of the version that answered it.
    assert len(found.versions) == 2


def test_the_ensemble_layout_answers_the_same(served, tmp_path):
    publish_golden(tmp_path / "other", 5, "ensemble")
    found = replay(served / "MON", last=10, run=tmp_path / "other", version=5)
    assert (found.versions, found.differing) == (["version 5 (ensemble)"], {})


def test_versions_that_are_gone_are_named(served, tmp_path):
    mon, target = tmp_path / "MON", tmp_path / "published"
    folder = publish_golden(target, 3)
    answer_some(tmp_path / "LOG", folder, 2)
    collect(tmp_path / "LOG", mon)
    with pytest.raises(NotReplayableError, match="has no version 9; it has 3"):
        replay(mon, last=1, version=9)
    withdrawn = folder.rename(folder.with_name(".3.withdrawn"))
    assert replay(mon, last=2).differing == {}
    publish_golden(target, 4)
    shutil.rmtree(withdrawn)
    note_removed(target, 3)
    with pytest.raises(NotReplayableError, match=r"version 3 was pruned on 20\d\d-\d\d-\d\d from "):
        replay(mon, last=2)
    shutil.rmtree(target)
    with pytest.raises(NotReplayableError, match="is not here; where it lies elsewhere, name it with --run"):
        replay(mon, last=2)


def test_an_altered_file_of_the_version_is_told(served, tmp_path):
    folder = publish_golden(tmp_path / "published", 1)
    answer_some(tmp_path / "LOG", folder, 2)
    collect(tmp_path / "LOG", tmp_path / "MON")
    harmed = folder / "chain/ids/items.npy"
    harmed.unlink()  # it may be the same file as that of the golden chain
    harmed.write_bytes(b"harmed")
    with pytest.raises(ArtefactError, match=r"items\.npy has 6 bytes, its manifest says"):
        replay(tmp_path / "MON", last=2)


def test_what_cannot_be_asked_again_is_left_out_and_said(tmp_path):
    folder = publish_golden(tmp_path / "published", 1)
    answer_some(tmp_path / "LOG", folder, 2)
    process = Process(LogSettings(tmp_path / "LOG", 1.0, dropped=("device",)))
    process.answer([Request("dropped")], [ask(0)[1]])
    process.close()
    collect(tmp_path / "LOG", tmp_path / "MON")
    found = replay(tmp_path / "MON", last=10)
    assert (found.num_requests, found.left_out) == (2, {"not all of its context was logged": 1})
    with pytest.raises(NotReplayableError, match="nothing can be asked again: not all of its context was logged"):
        replay(tmp_path / "MON", request_id="dropped")


def test_texts_and_numbers_of_the_context_are_asked_again(tmp_path):
    folder = publish_golden(tmp_path / "published", 1, variant="gathered")
    context = {
        "device": np.array([[b"phone"], [b""], ["tablét".encode()]], object),
        "hour": np.array([[3], [-(2**63)], [23]]),
        "temperature": np.array([[0.1], [np.nan], [-1e30]]),
    }
    users = np.array([["üser-00003".encode()], [b"nobody"], ["üser-00001".encode()]], object)
    recent = np.array([[b"item-00002", b"", b"no item"]] * 3, object)
    served_by = Served(chain_key(folder), 1, tmp_path / "published")
    process = Process(LogSettings(tmp_path / "LOG", 1.0), "gathered", served_by)
    process.answer([Request("a")], [{"user_id": users, "recent_item_ids": recent, **context}])
    process.answer([Request("b")], [{"user_id": users[:1], "device": np.array([[b"\xff"]], object)}])
    process.close()
    collect(tmp_path / "LOG", tmp_path / "MON")
    found = replay(tmp_path / "MON", last=10)
    assert (found.num_requests, found.differing) == (1, {})
    assert found.left_out == {"not all of its context was logged": 1}


def test_what_was_blocked_then_is_left_out_again(tmp_path):
    folder = publish_golden(tmp_path / "published", 1)
    shown = Process(LogSettings(tmp_path / "other", 0.0)).chain.recommend({"user_id": np.array([[1006]])})
    best = int(shown["item_id"][0, 0])
    line = {"at": "2026-01-01", "item_id": best, "blocked": True, "reason": "test"}
    (tmp_path / "blocked.ndjson").write_text(json.dumps(line) + "\n")
    blocked = BlockedItems(tmp_path / "blocked.ndjson", GOLDEN / "exact/chain", print)
    served_by = Served(chain_key(folder), 1, tmp_path / "published")
    process = Process(LogSettings(tmp_path / "LOG", 1.0), "exact", served_by, blocked)
    (answer,) = process.answer([Request("a")], [{"user_id": np.array([[1006]])}])
    process.close()
    assert best not in answer["item_id"].tolist()[0]
    collect(tmp_path / "LOG", tmp_path / "MON")
    assert replay(tmp_path / "MON", last=1).differing == {}
