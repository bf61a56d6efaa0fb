"""The tutorials that begin with nothing, followed as somebody follows them, in one folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tutorial import ROOT, Reader, reading

pytestmark = [pytest.mark.triton, pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Sits in a folder that has what a clone has."""
    before = Path.cwd()
    os.chdir(folder := tmp_path_factory.mktemp("clone"))
    (folder / "configs").symlink_to(ROOT / "configs")
    with reading(apart=True) as found:
        yield found
    os.chdir(before)


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def test_from_nothing_to_a_slate_that_a_click_changes(reader: Reader) -> None:
    said = reader.follow(page("FIRST_SLATES.md"))
    assert "serve it: cascade serve runs/first" in said
    assert "known_user" in said and '"name":"item_id"' in said
    before, after = reader.names["before"], reader.names["after"]
    assert reader.names["outcome"].status == "new"
    assert before.item_ids[0] not in after.item_ids and before.scores != after.scores


def test_real_time_goes_on_from_there(reader: Reader) -> None:
    said = reader.follow(page("REALTIME.md").partition("## Features of what happened lately")[0])
    assert "repo: up to date" in said and "lost at eligibility: out of stock, as a live event says" in said
    sent = ["2 events: 2 new, 0 known already, 0 refused", "2 events: 0 new, 2 known already, 0 refused"]
    assert re.findall(r"events send: (.*)", said) == sent
    assert "of the live state are those of the log, to the byte" in said


def test_own_tables_a_rule_and_a_release(reader: Reader) -> None:
    said = reader.follow(page("YOUR_TABLES.md"))
    assert "wrote shop.toml" in said and "serve it: cascade serve runs/first" in said and "known_user" in said


def test_a_release_goes_from_a_log_to_a_rollback(reader: Reader) -> None:
    said = reader.follow(page("RELEASE_TUTORIAL.md"))
    verdicts = [said.index(word) for word in ("RELEASE", "REJECT")]
    assert verdicts == sorted(verdicts) and "customers complain" in said
    shown = reader.names["Counter"](reader.names["shown"])
    assert 5 < shown["second=second"] < 50 and 5 < shown["second=control"] < 50 and shown[""] > 300


def test_a_rule_takes_its_items_out(reader: Reader) -> None:
    said = reader.follow(page("ADD_A_RULE.md"))
    assert "ranking: up to date" in said and reader.names["expensive"] == "P003" and "lost at eligibility" in said
