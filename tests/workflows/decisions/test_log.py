"""Reading a decision log: what it says arrives slot by slot, and what cannot be is refused by its request_id."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflows.core.errors import DataError
from workflows.decisions.log import log_of, read_log


def rows(**changes):
    """A log of 200 rows; `changes` replace the row in the middle, or give another column."""
    table = {
        "request_id": [f"r{n}" for n in range(200)],
        "user_id": [n % 50 for n in range(200)],
        "item_ids": [[n % 7, 7 + n % 3] for n in range(200)],
        "log_propensity": [[-1.0, -0.5] for n in range(200)],
        "rewards": [[0.0, float(n % 2)] for n in range(200)],
        "candidate_ids": [[*range(10)] for n in range(200)],
        "candidate_scores": [[0.1 * item for item in range(10)] for n in range(200)],
        "temperature": [0.5] * 200,
    }
    for name, value in changes.items():
        table[name][100] = value
    return table


def test_slots_and_candidates_arrive_where_they_were():
    table = rows(item_ids=[3], log_propensity=[-2.0], rewards=[4.0], candidate_ids=None, candidate_scores=None)
    table["device"] = ["app"] * 200
    log = log_of(pa.table(table))
    assert len(log) == 200 and not log.refused and log.context.column_names == ["device"]
    assert log.item_ids[log.items[100, 0]] == 3 and log.items[100, 1] == -1
    assert (log.log_propensity[100] == [-2.0, 0.0]).all() and (log.rewards[100] == [4.0, 0.0]).all()
    assert (log.item_ids[log.items[5]] == [5, 9]).all() and log.user_ids[log.users[5]] == 5
    assert log.has_candidates.sum() == 199 and np.isneginf(log.candidate_scores[100]).all()
    assert log.candidate_scores[5, 3] == pytest.approx(0.3) and log.temperature[5] == 0.5


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"request_id": "r0"}, "the same request_id"),
        ({"user_id": None}, "no user_id"),
        ({"item_ids": []}, "no item"),
        ({"item_ids": [None, 1]}, "an item is null"),
        ({"item_ids": [1, 1]}, "an item twice"),
        ({"log_propensity": [-1.0]}, "as many propensities"),
        ({"log_propensity": [-1.0, -math.inf]}, "a propensity is 0"),
        ({"log_propensity": [-1.0, math.nan]}, "a propensity is no number"),
        ({"log_propensity": [-1.0, None]}, "a propensity is no number"),
        ({"log_propensity": [-1.0, 0.1]}, "a propensity is above 1"),
        ({"rewards": [1.0]}, "as many rewards"),
        ({"rewards": [1.0, math.inf]}, "a reward is no number"),
        ({"rewards": None}, "as many rewards"),
        ({"candidate_ids": [1, 2]}, "as many candidate_scores"),
        ({"candidate_scores": [math.nan] * 10}, "a candidate's score is no number"),
        ({"candidate_ids": [0] * 10}, "a candidate comes twice"),
        ({"candidate_ids": [*range(10, 20)]}, "none of its candidates"),
        ({"temperature": 0.0}, "temperature is not above 0"),
    ],
)
def test_a_row_that_cannot_be_is_left_out_by_its_name(changes, why):
    log = log_of(pa.table(rows(**changes)))
    assert len(log) == 199
    assert [row.request_id for row in log.refused] == [changes.get("request_id", "r100")]
    assert why in log.refused[0].why


def test_a_log_of_bad_rows_is_no_log():
    table = rows()
    table["log_propensity"] = [[-1.0, -math.inf]] * 3 + table["log_propensity"][3:]
    with pytest.raises(DataError, match=r"3 of 200 rows cannot be used.*r0: a propensity is 0"):
        log_of(pa.table(table))


def test_a_probability_and_its_logarithm_are_told_apart():
    table = rows()
    plain = {name: values for name, values in table.items() if name != "log_propensity"}
    found = log_of(pa.table(plain | {"propensity": [[0.5, 0.25]] * 200}))
    np.testing.assert_allclose(found.log_propensity, np.log([[0.5, 0.25]] * 200))
    with pytest.raises(DataError, match="log_propensity given where propensity is expected"):
        log_of(pa.table(plain | {"propensity": [[-0.5, -0.25]] * 200}))
    with pytest.raises(DataError, match="propensity given where log_propensity is expected"):
        log_of(pa.table(table | {"log_propensity": [[0.5, 0.25]] * 200}))
    zero = [[0.5, 0.25]] * 199 + [[0.5, 0.0]]
    assert log_of(pa.table(plain | {"propensity": zero})).refused[0].why.startswith("a propensity is 0")
    certain = log_of(pa.table(table | {"log_propensity": [[0.0, 1e-8]] * 200}))
    assert not certain.log_propensity.any()


def test_columns_that_are_missing_or_of_another_type_are_named():
    table = rows()
    del table["rewards"], table["log_propensity"]
    with pytest.raises(DataError, match="has no rewards, log_propensity"):
        log_of(pa.table(table))
    for name, values, what in (
        ("item_ids", ["a"] * 200, "item_ids is string; expected a list of integers or text"),
        ("rewards", [["a"]] * 200, "expected a list of numbers"),
        ("user_id", [0.5] * 200, "user_id is double; expected integers or text"),
        ("temperature", ["warm"] * 200, "temperature is string; expected numbers"),
        ("candidate_ids", [["a"] * 10] * 200, "int64 and string"),
    ):
        with pytest.raises(DataError, match=what):
            log_of(pa.table(rows() | {name: values}))
    with pytest.raises(DataError, match="no row"):
        log_of(pa.table(rows()).slice(0, 0))


def test_a_folder_of_files_and_text_ids(tmp_path):
    table = rows()
    table["item_ids"] = [[f"i{item % 7}", "other"] for item in range(200)]
    table["user_id"] = pa.array([f"u{user}" for user in table["user_id"]]).dictionary_encode()
    table["candidate_ids"], table["candidate_scores"] = [None] * 200, [None] * 200
    whole = pa.table(table)
    pq.write_table(whole.slice(0, 90), tmp_path / "a.parquet")
    pq.write_table(whole.slice(90), tmp_path / "b.parquet")
    log = read_log(tmp_path)
    assert len(log) == 200 and log.item_ids[log.items[3, 0]] == "i3"
    assert log.user_ids[log.users[3]] == "u3" and log.candidates.shape == (200, 0)


def test_what_is_no_log_is_said_with_its_path(tmp_path):
    with pytest.raises(DataError, match="no Parquet file"):
        read_log(tmp_path)
    (tmp_path / "x.parquet").write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"x.parquet: cannot be read as Parquet"):
        read_log(tmp_path / "x.parquet")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_log(tmp_path / "absent.parquet")


def test_slates_that_were_not_drawn_are_left_out_and_no_error():
    table = rows() | {"explored": [n % 4 == 0 for n in range(200)]}
    log = log_of(pa.table(table))
    assert len(log) == 50 and log.num_fixed == 150 and not log.refused
    with pytest.raises(DataError, match="none of its 200 slates was drawn"):
        log_of(pa.table(table | {"explored": [False] * 200}))
    with pytest.raises(DataError, match="explored is int64; expected true or false"):
        log_of(pa.table(table | {"explored": [1] * 200}))
