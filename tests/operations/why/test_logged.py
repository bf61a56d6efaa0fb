"""`cascade why` of logged requests: the version that answered says it, of the slate that it gave."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from operations.log.collect import collect
from operations.replay.requests import latest
from operations.replay.versions import find_given
from runtime.log.folder import LogSettings
from runtime.log.identity import Served, chain_key
from scripts.cli import app
from tests.ensemble.synthetic import item_id, user_id
from tests.operations.replay.test_replay import changed
from tests.operations.repository import publish_golden
from tests.runtime.log.made import Process, Request


def ask(*words: object) -> tuple[int, str, str]:
    found = CliRunner().invoke(app, ["why", *map(str, words)])
    return found.exit_code, found.stdout, " ".join(found.stderr.split())


def answer_all(log: Path, folder: Path, variant: str, text_ids: bool) -> None:
    """Requests of one to three users, some unknown, half of them with recent and excluded items."""
    process = Process(LogSettings(log, 1.0), variant, Served(chain_key(folder), int(folder.name), folder.parents[1]))
    for number in range(3):
        users = 1 + number % 3
        arrays = {"user_id": ids(user_id, np.arange(users)[:, None] + 2 * number, text_ids)}
        if number % 2:
            of_users = np.arange(4 * users).reshape(users, 4) + number
            arrays |= {
                "recent_item_ids": ids(item_id, of_users, text_ids),
                "exclude_item_ids": ids(item_id, 20 + of_users, text_ids),
            }
        process.answer([Request(f"request-{folder.name}0{number}")], [arrays])
    process.close()
    assert not process.said


def ids(make: Callable[[int, bool], Any], rows: np.ndarray, text_ids: bool) -> np.ndarray:
    made = np.empty(rows.shape, object if text_ids else np.int64)
    made.reshape(-1)[:] = [make(row, text_ids) for row in rows.reshape(-1).tolist()]
    return made


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version in each layout, with other ids, and requests that are collected."""
    root = tmp_path_factory.mktemp("logged")
    for version, variant, layout, text_ids in ((1, "exact", "fused", False), (2, "plain", "ensemble", True)):
        folder = publish_golden(root / "published", version, layout, variant)
        answer_all(root / "LOG", folder, variant, text_ids)
    collect(root / "LOG", root / "MON")
    return root


def rows(world: Path) -> list[dict[str, Any]]:
    return [dict(row.values) for row in latest(world / "MON", 100)]


def raw(world: Path, row: dict[str, Any], item: int) -> str:
    version = find_given(world / "published", "fused", row["chain_key"], None)
    made = version.ids("items")[item]
    return made.decode() if isinstance(made, bytes) else str(made)


def test_every_item_of_every_slate_is_found_at_its_place_and_no_other_one_is_shown(world: Path) -> None:
    found = rows(world)
    assert {row["model_version"] for row in found} == {1, 2} and any(row["excluded"] for row in found)
    for row in found:
        given = ("--request-id", row["request_id"], "--log", world / "MON", "--user", row["position"] + 1, "--json")
        shown = list(row["item_rows"])
        for item in {*shown[-1:], *[item for item in row["excluded"] if item >= 0][:1]}:
            status, out, err = ask(raw(world, row, item), *given)
            assert status == 0, err
            answer = json.loads(out)
            assert answer["outcome"]["place"] == (shown.index(item) + 1 if item in shown else None)
            assert answer["version"] == str(row["model_version"]) and answer["user_id"] is None
            assert answer["notes"][0].startswith(f"request {row['request_id']}, answered by version")
            assert not any("answers otherwise" in note for note in answer["notes"])
            if item in row["excluded"] and answer["outcome"]["lost_at"] == "excluded":
                assert "excludes it, or it is blocked" in answer["summary"]
                assert "excluded and what was blocked then" in answer["notes"][1]


def test_people_read_a_table(world: Path) -> None:
    row = next(row for row in rows(world) if row["request_id"] == "request-102")
    given = ("--request-id", "request-102", "--log", world / "MON", "--user", row["position"] + 1)
    status, out, _ = ask(raw(world, row, row["item_rows"][0]), *given)
    assert status == 0 and "for a logged request: shown: " in out
    # A copy of the repository stands in for the one that answered, and a version that was withdrawn is asked still.
    copied = shutil.copytree(world / "published", world / "elsewhere")
    (copied / "cascade/1").rename(copied / "cascade/.1.withdrawn")
    assert ask(raw(world, row, row["item_rows"][0]), copied, *given)[:2] == (0, out)


def test_where_an_answer_is_another_one_now_it_is_said(world: Path, tmp_path: Path) -> None:
    mon = shutil.copytree(world / "MON", tmp_path / "MON")
    changed(mon, "item_rows", lambda rows: rows[1:] + rows[:1])
    row = next(row for row in rows(world) if row["position"] == 0 and len(row["item_rows"]) > 2)
    given = ("--request-id", row["request_id"], "--log", mon, "--user", 1)
    status, out, _ = ask(raw(world, row, row["item_rows"][1]), *given)
    assert status == 0 and "the item was at place 1: this release answers otherwise" in " ".join(out.split())


def test_what_cannot_be_explained_is_one_sentence(world: Path, tmp_path: Path) -> None:
    live = shutil.copytree(world / "MON", tmp_path / "live")
    changed(live, "replayable", lambda _: False)
    mon, item = world / "MON", raw(world, rows(world)[0], 3)
    gone = tmp_path / "gone"
    shutil.copytree(world / "published", gone)
    shutil.rmtree(gone / "cascade/1")
    cases = {
        (item, "--request-id", "request-102"): (1, "needs both --request-id R and --log MON"),
        (item, "--log", mon): (1, "needs both"),
        (item,): (1, "say RUN --user-id U, or --request-id R --log MON"),
        (item, world / "published", "--user-id", 1, "--user", 1): (1, "say RUN --user-id U"),
        (item, "--request-id", "request-102", "--log", mon, "--user-id", 1): (1, "leave out --user-id"),
        (item, "--request-id", "request-7", "--log", mon): (2, "has no request request-7"),
        (item, "--request-id", "request-102", "--log", mon): (1, "asked for 3 users; say which with --user"),
        (item, "--request-id", "request-102", "--log", mon, "--user", 4): (1, "asked for 3 users, counted from 1"),
        ("none", "--request-id", "request-102", "--log", mon, "--user", 1): (2, "the item 'none' is unknown"),
        (item, "--request-id", "request-102", "--log", live, "--user", 1): (2, "cannot be asked again: not all of its"),
        (item, gone, "--request-id", "request-102", "--log", mon, "--user", 1): (2, "does not have version 1"),
        (item, "--request-id", "request-102", "--log", tmp_path / "absent"): (1, "absent"),
    }
    for words, (status, sentence) in cases.items():
        found, out, err = ask(*words)
        assert (found, out) == (status, "") and sentence in err, (words, found, out, err)
        assert err.startswith("error: ") and "Traceback" not in err
