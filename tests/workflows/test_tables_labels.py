"""Labels that are conditions: what is read, what is dropped, what is refused."""

from __future__ import annotations

import datetime as dt
import itertools
from decimal import Decimal as D

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensemble.config_file import load_config
from workflows.core.errors import ConfigError, DataError
from workflows.core.run import Run
from workflows.shop.config import ShopConfig
from workflows.tables.comparisons import comparison_sql
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.labels import Condition, parse_condition
from workflows.tables.stage import prepare_data

EVENTS = pd.DataFrame(
    {
        "user_id": [1, 1, 2, 2, 3, 3],
        "item_id": [7, 8, 7, 9, 8, 9],
        "rating": [8, None, 7, 10, 9, None],
        "kind": ["buy", "see", "see", "buy", "buy", "see"],
    }
)


def prepare(root, events=EVENTS, **labels):
    pq.write_table(pa.Table.from_pandas(events) if isinstance(events, pd.DataFrame) else events, root / "e.parquet")
    data = DataConfig(events=str(root / "e.parquet"), labels=labels)
    run = Run(root / "run")
    manifest = prepare_data(run, data, SplitConfig(valid_fraction=0.0, test_fraction=0.0), ShopConfig(), 4)
    return pd.read_parquet(run.folder("data") / "train"), manifest.info


@pytest.mark.parametrize(
    ("op", "expected"),
    [(">=", [1, 0, 1, 1]), (">", [0, 0, 1, 1]), ("<=", [1, 1, 0, 0]), ("<", [0, 1, 0, 0]), ("==", [1, 0, 0, 0])],
)
def test_a_condition_on_a_number_drops_the_rows_without_one(tmp_path, capsys, op, expected):
    got, info = prepare(tmp_path, liked=f"rating {op} 8")
    assert got["liked"].tolist() == expected
    assert got["at"].tolist() == [0, 2, 3, 4]  # row numbers of the file
    assert info["labels"] == ["liked"]
    assert "dropped 2 events without 'rating', so without 'liked'" in capsys.readouterr().err


def test_the_first_label_decides_what_is_a_positive_and_any_label_what_is_seen(tmp_path):
    prepare(tmp_path, bought="kind == 'buy'", good="rating >= 9")
    state = tmp_path / "run" / "data" / "state" / "serve"
    assert np.load(state / "popularity.npy").tolist() == [1.0, 1.0, 1.0]  # items 7, 8, 9: one rated buy each
    prepare(tmp_path, good="rating >= 9", bought="kind == 'buy'")
    assert np.load(state / "popularity.npy").tolist() == [0.0, 1.0, 1.0]  # one good rating each of 8 and 9
    seen, indptr = np.load(state / "seen_rows.npy").tolist(), np.load(state / "seen_indptr.npy").tolist()
    assert [seen[start:end] for start, end in itertools.pairwise(indptr)] == [[0], [2], [1]]  # 7 was only bought


def test_what_the_condition_cannot_mean_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"expected a column 'stars' \(data.labels.liked\)"):
        prepare(tmp_path, liked="stars >= 8")
    with pytest.raises(DataError, match="compares column 'kind' with a number, got varchar"):
        prepare(tmp_path, liked="kind >= 8")
    with pytest.raises(DataError, match="compares column 'rating' with a text, got double"):
        prepare(tmp_path, liked="rating >= '8'")
    with pytest.raises(DataError, match="must hold a value somewhere, got nulls or NaN in all 6 rows"):
        prepare(tmp_path, EVENTS.assign(rating=pd.Series([None] * 6, dtype="float")), liked="rating >= 8")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("condition", "expected"), [("x >= 4", [0, 1, 0]), ("x < 4", [1, 0, 1]), ("x != 1", [0, 1, 1])]
)
def test_nan_says_nothing(tmp_path, capsys, dtype, condition, expected):
    table = pa.table({"user_id": [1, 2, 3, 4], "item_id": [7, 8, 9, 7], "x": np.array([1, 5, np.nan, 2], dtype)})
    assert table["x"].null_count == 0
    got, _ = prepare(tmp_path, table, liked=condition)
    assert got["liked"].tolist() == expected
    assert "dropped 1 events without 'x', so without 'liked'" in capsys.readouterr().err


def test_a_column_of_nan_alone_says_nothing_of_any_event(tmp_path):
    with pytest.raises(DataError, match="must hold a value somewhere, got nulls or NaN in all 6 rows"):
        prepare(tmp_path, pa.table({**EVENTS[["user_id", "item_id"]], "x": np.full(6, np.nan)}), liked="x < 4")


@pytest.mark.parametrize(
    ("dtype", "values", "condition", "expected"),
    [
        ("int64", [2**53, 2**53 + 1, -1], f"x >= {2**53 + 1}", [0, 1, 0]),
        ("int64", [2**53, 2**53 + 1, -1], f"x == {2**53 + 1}.0", [0, 1, 0]),
        ("int64", [2**63 - 1, 2, 3], "x > 2.5", [1, 0, 1]),
        ("int64", [2**63 - 1, -(2**63), 3], f"x < {2**63}", [1, 1, 1]),
        ("uint64", [2**63 + 91, 2**63 + 92, 2**64 - 1], "x >= 9223372036854775900", [0, 1, 1]),
        ("uint64", [0, 1, 2**64 - 1], "x > -5", [1, 1, 1]),
        ("uint64", [0, 1, 2**64 - 1], "x < 1e40", [1, 1, 1]),
        ("float32", [2**24, 2**24 + 2, 0], f"x >= {2**24 + 1}", [0, 1, 0]),
        ("float32", [0.1, 0.2, 0.3], "x == 0.1", [1, 0, 0]),
        ("bool", [True, False, True], "x == 1", [1, 0, 1]),
        ("bool", [True, False, True], "x > 0", [1, 0, 1]),
        ("bool", [True, False, True], "x == 'true'", [1, 0, 1]),
        ("bool", [True, False, True], "x != True", [0, 1, 0]),
        ("bool", [True, False, True], "x == false", [0, 1, 0]),
    ],
)
def test_a_condition_compares_exactly(tmp_path, dtype, values, condition, expected):
    events = EVENTS[:3].assign(x=np.array(values, dtype))
    assert prepare(tmp_path, events, liked=condition)[0]["liked"].tolist() == expected


@pytest.mark.parametrize("kind", [pa.date32(), *(pa.timestamp(unit) for unit in ("s", "ms", "us", "ns")), "zoned"])
def test_dates_are_compared_with_iso_text(tmp_path, kind):
    kind = pa.timestamp("us", "Europe/Berlin") if kind == "zoned" else kind
    days = [dt.datetime(2024, 1, 14, tzinfo=dt.timezone.utc), dt.datetime(2024, 1, 15, tzinfo=dt.timezone.utc)]
    table = pa.table({"user_id": [1, 2], "item_id": [7, 8], "x": pa.array(days, pa.timestamp("us", "UTC")).cast(kind)})
    for condition, expected in [
        ("x >= '2024-01-15'", [0, 1]),
        ("x == '2024-01-14'", [1, 0]),
        ("x > '2024-01-13T23:00:00-01:00'", [0, 1]),
        ("x < '2024-01-14 00:00:00.001'", [1, 0]),
        ("x < '9999-01-01'", [1, 1]),
        ("x > '0001-01-01'", [1, 1]),
    ]:
        assert prepare(tmp_path, table, liked=condition)[0]["liked"].tolist() == expected, condition


def test_decimals_are_compared_with_any_number(tmp_path):
    table = pa.table({"user_id": [1, 2], "item_id": [7, 8], "x": pa.array([D("5.25"), D("8")], pa.decimal128(38, 10))})
    assert prepare(tmp_path, table, liked="x >= 5.26")[0]["liked"].tolist() == [0, 1]
    assert prepare(tmp_path, table, liked="x < 8e31")[0]["liked"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("column", "condition", "remedy"),
    [
        (pa.array([True, False]), "x == 'yes'", r"name the column itself \(labels = \['x'\]\), or write x == true"),
        (pa.array([dt.date(2024, 1, 1)] * 2), "x >= 'May'", "write the value as '2024-01-31' or"),
        (pa.array([dt.date(2024, 1, 1)] * 2), "x >= 20240101", "write the value as '2024-01-31' or"),
        (pa.array([1, 0]), "x == true", "write 1 or 0"),
        (pa.array([1, 0]), "x == '1'", "write the value as a number, without quotes"),
        (pa.array(["1", "0"]), "x == 1", "put the value in quotes"),
        (pa.array([[1], [0]]), "x == 1", "derive a 0/1 column from it and name that in data.labels"),
        (pa.array([b"1", b"0"]), "x == '1'", "derive a 0/1 column from it and name that in data.labels"),
        (pa.array([{"a": 1}, {"a": 0}]), "x == 1", "derive a 0/1 column from it and name that in data.labels"),
    ],
)
def test_what_cannot_be_compared_ends_in_what_to_do(tmp_path, column, condition, remedy):
    table = pa.table({"user_id": [1, 2], "item_id": [7, 8], "x": column})
    with pytest.raises(DataError, match=f"data.labels.liked compares column 'x' with .*, got .*; {remedy}"):
        prepare(tmp_path, table, liked=condition)


@given(
    st.from_regex(r"[a-z][a-z_ ]{0,8}[a-z]", fullmatch=True),
    st.sampled_from([">=", "<=", ">", "<", "==", "!="]),
    st.floats(-1e6, 1e6),
    st.sampled_from(["", " ", "  "]),
)
def test_any_number_and_column_name_is_read_back(column, op, value, space):
    assert parse_condition("k", f"{column}{space}{op}{space}{value!r}") == Condition(column, op, value)


def test_a_quote_in_a_text_cannot_end_it():
    condition = parse_condition("k", """name == "it's" """)
    assert condition.value == "it's"
    assert comparison_sql("k", condition, '"name"', "VARCHAR") == """("name"::VARCHAR = 'it''s')"""


@pytest.mark.parametrize(
    "text",
    [
        "rating",
        "rating >= ",
        "rating >= true",
        "rating >= 1e400",
        ">= 8",
        "rating => 8",
        "rating >= eight",
        "rating >= 8; DROP",
    ],
)
def test_other_forms_are_refused_before_anything_is_read(text, tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(f"[data]\nevents = 'e'\ntimestamp = 't'\nlabels = {{ liked = '{text}' }}\n")
    with pytest.raises(
        ConfigError, match=r"data.labels.liked = '.*': expected (a column, one of|== or !=|a number below)"
    ):
        load_config(path)
