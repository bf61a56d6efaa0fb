"""Numbers that no model can be trained on, and statistics of large numbers; worked out by hand or by NumPy."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runtime.encoders import MOST_DEVIATIONS, Encoder
from workflows.core.errors import DataError
from workflows.features.config import FeatureSpec
from workflows.features.numbers import check_numbers
from workflows.features.source import Column
from workflows.features.tables import Layout, RowTable

CONTINUOUS, LOGGED = FeatureSpec(kind="continuous"), FeatureSpec(kind="continuous", log=True)
PLAIN = [1.0, 2.0, None, 4.0]


def check(folder: Path, *, users=PLAIN, items=PLAIN, context=PLAIN, spec=CONTINUOUS, kind=None, split="train") -> None:
    """Four users, items and events, one column "x" each; the ids of the items are text."""
    for name, values in (("users", users), ("items", items)):
        pq.write_table(pa.table({"x": pa.array(values, kind)}), folder / f"{name}.parquet", row_group_size=2)
    for name in ("train", "valid", "test"):
        (folder / name).mkdir()
        rows = {"user_row": [0, 1, 2, 3], "item_row": [3, 2, -1, 0]}
        values = context if name == split else PLAIN
        pq.write_table(pa.table({**rows, "x": pa.array(values)}), folder / name / "part.parquet", row_group_size=2)
    columns = [Column("id", FeatureSpec(), "int64"), Column("inside", spec, "float64", raw="x")]
    layout = Layout(folder, {"user": "int64", "item": "string"}, {"user": "who", "item": "what"}, [], None, {}, 0)
    ids = np.array([10, 11, 12, 13]), np.array([b"a", b"b", "ü".encode(), b"d"])
    check_numbers(layout, RowTable(ids[0], columns, []), RowTable(ids[1], columns, []), columns[1:])


@pytest.mark.parametrize("value", [1e308, -1e308, 3.5e38, 1e39])
@pytest.mark.parametrize("spec", [CONTINUOUS, LOGGED], ids=["plain", "log"])
def test_a_number_beyond_float32_is_refused_with_column_and_row(tmp_path, value, spec):
    sentence = (
        rf"items: column 'x' \(features.items.x\) must hold numbers between -3.4e38 and 3.4e38, got 1 row beyond, for "
        rf"example the row with what = ü: {value:g}".replace("+", r"\+")
    )
    with pytest.raises(DataError, match=sentence):
        check(tmp_path, items=[1.0, 2.0, value, 4.0], spec=spec)


def test_users_and_events_of_every_split_are_looked_at(tmp_path):
    for split in ("train", "valid", "test"):
        folder = tmp_path / split
        folder.mkdir()
        with pytest.raises(DataError, match=r"events: .*got 2 rows beyond, .* who = 12 and what = one outside the cat"):
            check(folder, context=[1.0, float("nan"), 1e300, -1e300], split=split)
    folder = tmp_path / "users"
    folder.mkdir()
    with pytest.raises(DataError, match=r"users: column 'x' \(features.users.x\) .* for example the row with who = 13"):
        check(folder, users=[1.0, math.inf, 3.0, 1e50])


def test_other_kinds_and_what_float32_holds_pass_without_a_word(tmp_path, capsys):
    for number, (items, spec) in enumerate([
        ([1e308, 2.0, 3.0, 4.0], FeatureSpec(kind="bucketised", boundaries=[2.0])),
        ([3.4e38, -3.4e38, float("nan"), None], CONTINUOUS),
        ([-0.5, 2.0, 3.0, 1e30], LOGGED),
        ([None] * 4, LOGGED),
    ]):  # fmt: skip
        (tmp_path / str(number)).mkdir()
        check(tmp_path / str(number), items=items, users=[0.0] * 4, spec=spec, kind=pa.float64())
    assert capsys.readouterr().err == ""


def test_what_counts_as_missing_is_said_with_its_number(tmp_path, capsys):
    check(tmp_path, items=[math.inf, -math.inf, -3.0, float("nan")], users=[-1.0, -2.0, 3.0, 4.0], spec=LOGGED)
    said = capsys.readouterr().err
    assert "items: 2 values of 'x' are infinite; they count as missing" in said
    assert "items: 1 values of 'x' are -1 or less, of which log = true takes no logarithm" in said
    assert "users: 2 values of 'x' are -1 or less" in said and "nan" not in said


def test_integers_of_which_there_is_no_logarithm_are_said_too(tmp_path, capsys):
    check(tmp_path, items=[-5, 2**63 - 1, -5, 0], users=[1, 2, 3, 4], spec=LOGGED, kind=pa.int64())
    assert "items: 2 values of 'x' are -1 or less" in capsys.readouterr().err


def scaled(*parts: list[float]) -> tuple[float, float]:
    from workflows.features.operators import Scaled, _merged, _statistics

    operator = Scaled()
    operator.fit_finalize(_merged([_statistics(pd.DataFrame({"x": part}, dtype=float), ["x"]) for part in parts]))
    return operator.means["x"], operator.stds["x"]


@pytest.mark.parametrize(
    "values",
    [
        np.arange(40.0),
        1.7e9 + np.arange(40.0),  # instants in seconds, half a minute apart
        1e14 + 3 * np.arange(40.0),
        np.append(np.arange(40.0), 3e38),
        np.random.default_rng(3).lognormal(3, 2, 1000),
    ],
)
def test_statistics_equal_those_of_all_values_however_they_are_cut(values):
    for cuts in ([], [1], [13, 20], [13, 13, 30]):
        mean, std = scaled(*(part.tolist() for part in np.split(values, cuts)))
        assert (mean, std) == pytest.approx((values.mean(), values.std(ddof=1)), rel=1e-12)


def test_nulls_are_left_out_and_a_column_that_rounding_alone_spreads_is_constant():
    assert scaled([1.0, math.nan], [math.nan], [3.0]) == pytest.approx((2.0, math.sqrt(2)))
    mean, std = scaled([0.1] * 30, [0.1] * 11)
    assert (mean, std) == (pytest.approx(0.1), 0.0)
    assert scaled([5.0]) == (5.0, 0.0)
    assert math.isnan(scaled([math.nan])[0])


def test_a_value_far_from_training_is_cut_so_that_nothing_overflows():
    record = {
        "name": "x",
        "column": "x",
        "kind": "continuous",
        "dtype": "float64",
        "length": 0,
        "log": False,
        "mean": 2.0,
        "std": 0.5,
    }
    given = np.array([2.5, 1e38, -1e30, np.nan, np.inf, 1e39])  # training refuses the last one
    found = Encoder("item", [record], {}).encode({"x": given})["x"]
    assert found.tolist() == [1.0, MOST_DEVIATIONS, -MOST_DEVIATIONS, 0.0, 0.0, 0.0]
