"""The file of blocked items as a server reads it: what it says at each instant, and what a bad one costs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from runtime import blocked
from runtime.blocked import BlockedItems, blocked_in, read_blocks
from runtime.request import Parsed


@pytest.fixture
def chain(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(blocked, "LOOK_EACH_S", 0.0)
    (tmp_path / "chain/ids").mkdir(parents=True)
    np.save(tmp_path / "chain/ids/items.npy", np.array([3, 5, 8, 13]))
    return tmp_path / "chain"


def line(item: int | str, is_blocked: bool = True) -> str:
    return json.dumps({"at": "2026-11-30T10:00:00+00:00", "item_id": item, "blocked": is_blocked, "reason": ""}) + "\n"


def parsed(num_users: int) -> Parsed:
    rows = np.arange(num_users, dtype=np.int32)
    return Parsed(rows, rows[:, None][:, :0], np.full((num_users, 1), 2, np.int32), rows + 1, {})


def test_the_last_line_of_an_item_counts_and_a_torn_one_does_not_yet() -> None:
    blocks, num_bad = read_blocks((line(5) + line(8) + line(5, False) + line(5) + line(3)[:-1]).encode())
    assert (list(blocked_in(blocks)), num_bad) == ([8, 5], 0)


def test_what_is_written_is_known_and_what_is_removed_is_forgotten(chain, tmp_path) -> None:
    said: list[str] = []
    path = tmp_path / "blocked.ndjson"
    items = BlockedItems(path, chain, said.append)
    assert items.rows().tolist() == []
    path.write_text(line(13) + line(5) + line(77) + line("8"))
    assert items.rows().tolist() == [1, 3]
    path.write_text(line(13) + line(5) + line(13, False))
    assert items.rows().tolist() == [1]
    path.unlink()
    assert items.rows().tolist() == [] and said == []


def test_a_request_excludes_them_beside_its_own(chain, tmp_path) -> None:
    path = tmp_path / "blocked.ndjson"
    items = BlockedItems(path, chain, print)
    given = parsed(2)
    assert items.leave_out(given) is given
    path.write_text(line(13) + line(3))
    items.rows()
    assert items.leave_out(given).exclude.tolist() == [[2, 0, 3], [2, 0, 3]]


def test_lines_that_say_nothing_are_told_and_the_others_count(chain, tmp_path) -> None:
    said: list[str] = []
    path = tmp_path / "blocked.ndjson"
    path.write_text("{}\n" + line(8) + "nonsense\n" + '{"at": "", "item_id": true, "blocked": true}\n')
    items = BlockedItems(path, chain, said.append)
    assert items.rows().tolist() == items.rows().tolist() == [2]
    assert said == [f"3 lines of {path} say no block and are passed over"]


def test_a_file_that_cannot_be_read_leaves_what_was_known(chain, tmp_path) -> None:
    said: list[str] = []
    path = tmp_path / "blocked.ndjson"
    path.write_text(line(8))
    items = BlockedItems(path, chain, said.append)
    assert items.rows().tolist() == [2]
    path.unlink()
    path.mkdir()
    assert items.rows().tolist() == items.rows().tolist() == [2]
    assert len(said) == 1 and "cannot be read" in said[0]


def test_text_ids_are_found_and_numbers_are_none_of_them(chain, tmp_path) -> None:
    np.save(chain / "ids/items.npy", np.array([b"4", b"5", b"\xc3\xa9"], "S4"))
    path = tmp_path / "blocked.ndjson"
    path.write_text(line(5) + line("é") + line("5") + line("far too long"))
    assert BlockedItems(path, chain, print).rows().tolist() == [1, 2]


def test_a_model_without_item_ids_has_none(tmp_path) -> None:
    assert BlockedItems.of_server(tmp_path, tmp_path / "chain", print) is None


def test_a_server_looks_beside_the_models_unless_told_otherwise(chain, tmp_path, monkeypatch) -> None:
    (tmp_path / "blocked.ndjson").write_text(line(3))
    (tmp_path / "other").write_text(line(8))
    found = BlockedItems.of_server(tmp_path, chain, print)
    assert found is not None and found.rows().tolist() == [0]
    monkeypatch.setenv("CASCADE_BLOCKED", str(tmp_path / "other"))
    found = BlockedItems.of_server(tmp_path, chain, print)
    assert found is not None and found.rows().tolist() == [2]
