"""Tables in the schema of the Open Bandit Dataset as decision logs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from workflows.core.errors import CascadeError, DataError
from workflows.decisions.choices import read_choices
from workflows.decisions.log import read_log
from workflows.decisions.open_bandit import (
    ITEMS_FILE,
    read_open_bandit,
    read_open_bandit_items,
    write_open_bandit,
    write_uniform,
)

HEADER = ",timestamp,item_id,position,click,propensity_score,user_feature_0,user-item_affinity_0"
ROWS = [
    "0,2019-11-24 00:01:29.788335+00:00,36,1,0,0.25,81ce,0.0",
    "1,2019-11-24 00:01:43+00:00,4,3,1,0.5,03a5,1.0",
    "2,2019-11-24 00:02:00.5+00:00,36,2,0,1.0,03a5,1.0",
]


def table_of(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "women.csv"
    path.write_text("\n".join([header, *(rows or ROWS)]) + "\n")
    return path


def test_a_display_is_a_slate_of_one_item_with_its_probability(tmp_path: Path) -> None:
    write_open_bandit(table_of(tmp_path), tmp_path / "log.parquet")
    log = read_log(tmp_path / "log.parquet")
    assert log.request_ids.tolist() == ["row-0", "row-1", "row-2"]
    assert len(set(log.users.tolist())) == 3  # nobody is known, so each display counts as a user's
    assert log.item_ids[log.items].tolist() == [[36], [4], [36]]
    assert np.exp(log.log_propensity).tolist() == pytest.approx(np.array([[0.25], [0.5], [1.0]]))
    assert log.rewards.tolist() == [[0], [1], [0]]
    assert log.context["position"].to_pylist() == [1, 3, 2]
    assert str(log.context["at"][0].as_py()) == "2019-11-24 00:01:29.788335+00:00"
    assert log.refused == []


@pytest.mark.parametrize("is_listed", [False, True])
def test_the_uniform_policy_chooses_from_all_items_that_are_listed_or_else_displayed(
    tmp_path: Path, is_listed: bool
) -> None:
    path = table_of(tmp_path)
    if is_listed:
        (tmp_path / ITEMS_FILE).write_text(",item_id,item_feature_0\n0,4,-0.3\n1,36,0.5\n2,40,0.5\n")
    table = read_open_bandit(path)
    items = read_open_bandit_items(path, table)
    assert items.to_pylist() == [4, 36, 40][: 2 + is_listed]
    write_uniform(table, items, tmp_path / "uniform.parquet")
    write_open_bandit(path, tmp_path / "log.parquet")
    choices = read_choices(tmp_path / "uniform.parquet", read_log(tmp_path / "log.parquet"))
    assert choices.candidates.shape == (3, len(items))
    assert (choices.scores == 0).all() and (choices.temperature == 1).all()


def test_many_rows_are_written_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workflows.decisions.open_bandit.ROWS_PER_GROUP", 2)
    path = table_of(tmp_path)
    table = read_open_bandit(path)
    write_uniform(table, read_open_bandit_items(path, table), tmp_path / "uniform.parquet")
    written = pq.read_table(tmp_path / "uniform.parquet")
    assert written["request_id"].to_pylist() == ["row-0", "row-1", "row-2"]
    assert written["candidate_ids"].to_pylist() == [[4, 36]] * 3


WRONG = {
    "propensity_score": (ROWS, HEADER.replace("propensity_score", "p")),
    "column click has no value": ([ROWS[0], ROWS[1].replace(",3,1,", ",3,,")], HEADER),
    "conversion error to double: invalid value 'often'": ([ROWS[0].replace("0.25", "often")], HEADER),
    "column timestamp holds what is no time": ([ROWS[0].replace("2019-11-24 00:01:29.788335+00:00", "noon")], HEADER),
}


@pytest.mark.parametrize("words", WRONG)
def test_another_table_is_refused_in_a_sentence(tmp_path: Path, words: str) -> None:
    rows, header = WRONG[words]
    with pytest.raises(DataError, match=words):
        read_open_bandit(table_of(tmp_path, *rows, header=header))


def test_a_file_that_is_not_there_and_a_folder_that_cannot_be_written_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv cannot be read as a table of the Open Bandit Dataset"):
        read_open_bandit(tmp_path / "none.csv")
    path = table_of(tmp_path)
    write_open_bandit(path, tmp_path / "made" / "log.parquet")
    for wrong in (path / "log.parquet", tmp_path):
        with pytest.raises(CascadeError, match="cannot be a file there"):
            write_open_bandit(path, wrong)


def test_a_display_that_cannot_be_is_named_when_the_log_is_read(tmp_path: Path) -> None:
    write_open_bandit(table_of(tmp_path, ROWS[0], ROWS[1].replace("0.5", "0.0")), tmp_path / "log.parquet")
    with pytest.raises(DataError, match=r"row-1: .*propensity"):
        read_log(tmp_path / "log.parquet")
