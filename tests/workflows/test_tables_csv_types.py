"""A column of a CSV has the type that all of its rows have, and no value is changed; what fits no type is named."""

from __future__ import annotations

from pathlib import Path

import duckdb
import msgspec
import pandas as pd
import pytest

from workflows.core.errors import DataError
from workflows.core.run import Run
from workflows.features.config import FeaturesConfig
from workflows.shop.config import ShopConfig
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.csv_table import feature_uses
from workflows.tables.load import find_inputs, load
from workflows.tables.stage import prepare_data

BY_TIME = SplitConfig()
MANY = 25_000  # more rows than a reader would look at to guess a type
HEAD = "user_id,item_id,at,x"


def rows(*xs: str, many: str = "") -> list[str]:
    """Lines of events with these values of x; many: the value of MANY rows before them."""
    values = [*([many] * MANY if many else []), *xs]
    return [f"{k % 7},{k % 5},{k},{x}" for k, x in enumerate(values)]


def write(path: Path, lines: list[str], head: str = HEAD) -> str:
    path.write_text("\n".join([head, *lines]) + "\n")
    return str(path)


def read(
    events: object, features: dict | None = None, split: SplitConfig = BY_TIME, **columns: object
) -> duckdb.DuckDBPyConnection:
    """Load the tables and give the connection that holds raw_events, raw_items and raw_users."""
    con = duckdb.connect()
    data = DataConfig(events=events, **{"timestamp": "at", **columns})
    uses = feature_uses(msgspec.convert(features or {}, FeaturesConfig))
    load(con, find_inputs(data, split), data, split, uses)
    return con


def last(con: duckdb.DuckDBPyConnection, column: str, table: str = "raw_events") -> tuple[str, object]:
    """Type of a column, and its value in the last row."""
    kind, value = con.execute(
        f'SELECT typeof("{column}"), "{column}" FROM {table} ORDER BY __n DESC LIMIT 1'
    ).fetchall()[0]
    return kind, value


@pytest.mark.parametrize(
    ("many", "end", "kind", "value"),
    [
        ("100", "7", "BIGINT", 7),
        ("100", "007", "VARCHAR", "007"),
        ("100", "+7", "VARCHAR", "+7"),
        ("100", "1_000", "VARCHAR", "1_000"),
        ("100", "0x1F", "VARCHAR", "0x1F"),
        ("1000", "1e3", "VARCHAR", "1e3"),
        ("100", "9223372036854775807", "BIGINT", 2**63 - 1),
        ("100", "9223372036854775808", "VARCHAR", "9223372036854775808"),
        ("100", "3.5", "DOUBLE", 3.5),
        ("100", " 3.5", "DOUBLE", 3.5),
        ("1.5", "2e-05", "DOUBLE", 2e-05),
        ("1.5", "007", "VARCHAR", "007"),
        ("1.5", "-.5", "DOUBLE", -0.5),
        ("100", "", "BIGINT", None),
        ("100", "nan", "BIGINT", None),
        ("100", "n/a", "VARCHAR", "n/a"),
        ("100", "true", "VARCHAR", "true"),
        ("true", "False", "BOOLEAN", False),
        ("true", "yes", "VARCHAR", "yes"),
        ("no", "yes", "VARCHAR", "yes"),
        ("2024-01-01", "2024-01-02 10:00", "VARCHAR", "2024-01-02 10:00"),
        ("a", '" b, ""c"""', "VARCHAR", ' b, "c"'),
    ],
)
def test_a_column_is_what_every_row_of_it_is(tmp_path, many, end, kind, value):
    con = read(write(tmp_path / "e.csv", rows(end, many=many)), context=["x"])
    assert last(con, "x") == (kind, value)
    first = con.execute("SELECT x::VARCHAR FROM raw_events WHERE __n = 0").fetchall()[0][0]
    assert first.removesuffix(".0") == many


def test_one_type_holds_over_all_files_and_over_the_given_splits(tmp_path):
    plain, coded = write(tmp_path / "1.csv", rows("7", "8")), write(tmp_path / "2.csv", rows("007"))
    con = read([plain, coded], context=["x"])
    assert con.execute("SELECT x FROM raw_events ORDER BY __n").fetchall() == [("7",), ("8",), ("007",)]
    con = read(None, split=SplitConfig(by="files", train=plain, test=coded), context=["x"])
    assert con.execute("SELECT __n, x, __given FROM raw_events ORDER BY __n").fetchall() == [
        (0, "7", "train"),
        (1, "8", "train"),
        (2, "007", "test"),
    ]


def test_a_condition_compares_every_value_as_it_is(tmp_path):
    path = write(tmp_path / "e.csv", rows("3.5", "4.5", "", "05", many="5"))
    con = read(path, labels={"liked": "x >= 4"})
    got = con.execute(f"SELECT __n, liked FROM raw_events WHERE __n >= {MANY} ORDER BY __n").fetchall()
    assert got == [(MANY, False), (MANY + 1, True), (MANY + 3, True)]
    con = read(write(tmp_path / "t.csv", rows("007", many="7")), labels={"agent": "x == '007'"})
    assert con.execute("SELECT sum(agent::INT) FROM raw_events").fetchall() == [(1,)]


@pytest.mark.parametrize("end", ["nan", "NaN", " nan"])
def test_nan_is_null_in_a_condition_whatever_other_rows_hold(tmp_path, capsys, end):
    for others in (("1", "5"), ("1.5", "5.5")):
        for condition, expected in (("x >= 4", [False, True]), ("x < 4", [True, False])):
            con = read(write(tmp_path / "e.csv", rows(*others, end)), labels={"liked": condition})
            got = con.execute("SELECT liked FROM raw_events ORDER BY __n").fetchall()
            assert [row[0] for row in got] == expected
            assert "dropped 1 events without 'x'" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["categorical", "hashed"])
@pytest.mark.parametrize(
    ("texts", "type_", "values"),
    [
        (["1.1", "1.10", "1.2", "1.20"], "VARCHAR", None),
        (["1.5", "2.5"], "VARCHAR", None),  # a code with a fraction is a text
        (["2.0", "2.00"], "VARCHAR", None),
        (["1e3", "1000", "1000.5"], "VARCHAR", None),
        (["7", "7 ", " 7"], "VARCHAR", None),
        (["7", "7.0"], "VARCHAR", None),
        (["0.0", "-0.0"], "VARCHAR", None),
        (["9007199254740993.0", "9007199254740992.0"], "VARCHAR", None),
        (["true", "True"], "VARCHAR", None),
        (["True", "False"], "BOOLEAN", [True, False]),
        (["1.0", "", "2.0"], "DOUBLE", [1.0, None, 2.0]),  # as pandas writes integers beside nulls
        (["1", "nan", "-2"], "BIGINT", [1, None, -2]),
    ],
)
def test_no_two_texts_become_one_code(tmp_path, kind, texts, type_, values):
    features = {table: {"x": {"kind": kind}} for table in ("users", "items", "context")}
    events = write(tmp_path / "e.csv", rows(*texts))
    items = write(tmp_path / "i.csv", [f"{k},{text}" for k, text in enumerate(texts)], "item_id,x")
    users = write(tmp_path / "u.csv", [f"{k},{text}" for k, text in enumerate(texts)], "user_id,x")
    con = read(events, features, context=["x"], items=items, users=users)
    for table in ("raw_events", "raw_items", "raw_users"):
        got = con.execute(f"SELECT typeof(x), x FROM {table} ORDER BY __n").fetchall()
        assert got == [(type_, value) for value in (texts if values is None else values)], table


def test_one_column_is_a_code_and_is_compared_as_a_text_or_as_a_number(tmp_path):
    events = write(tmp_path / "e.csv", rows("1.1", "1.10", "1.2", "1.20"))

    def labelled(condition: str, kind: str = "categorical") -> list[tuple]:
        con = read(events, {"context": {"x": {"kind": kind}}}, context=["x"], labels={"liked": condition})
        return con.execute("SELECT x, liked::INT FROM raw_events ORDER BY __n").fetchall()

    texts = ["1.1", "1.10", "1.2", "1.20"]
    assert labelled("x == '1.10'") == list(zip(texts, [0, 1, 0, 0], strict=True))
    assert labelled("x >= '1.2'") == list(zip(texts, [0, 0, 1, 1], strict=True))
    assert labelled("x == 1.1") == list(zip(texts, [1, 1, 0, 0], strict=True))
    assert labelled("x == 1.1", "continuous") == list(zip([1.1, 1.1, 1.2, 1.2], [1, 1, 0, 0], strict=True))
    with pytest.raises(DataError, match=r"compares column 'x' with a text, got double; .* without quotes"):
        read(events, labels={"liked": "x >= '1.2'"})  # a price, as much as anything says


@pytest.mark.parametrize(
    ("texts", "condition", "expected"),
    [
        (["9007199254740992", "9007199254740993"], "x >= 9007199254740993", [0, 1]),
        (["9223372036854775899", "9223372036854775900"], "x >= 9223372036854775900", [0, 1]),
        (["true", "False"], "x == 1", [1, 0]),
        (["true", "True", "false"], "x == 'true'", [1, 1, 0]),
        (["yes", "no"], "x == true", [1, 0]),
        (["1", "0"], "x != true", [0, 1]),
        (["2024-01-14", "2024-01-15 10:00"], "x >= '2024-01-15'", [0, 1]),
        (["31/01/2024", "01/03/2024"], "x >= '2024-02-01'", [0, 1]),
        (["2024-01-14", "2024-01-15"], "x == '2024-01-15'", [0, 1]),
        (["001", "1"], "x == '1'", [0, 1]),
    ],
)
def test_a_condition_reads_its_column_as_its_value_asks(tmp_path, texts, condition, expected):
    con = read(write(tmp_path / "e.csv", rows(*texts)), labels={"liked": condition})
    got = con.execute("SELECT liked::INT FROM raw_events ORDER BY __n").fetchall()
    assert [row[0] for row in got] == expected


def test_a_condition_on_dates_whose_day_is_not_plain_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"must hold dates whose day and month are plain \(data.labels.new\)"):
        read(write(tmp_path / "e.csv", rows("03/02/2024", "01/03/2024")), labels={"new": "x >= '2024-02-01'"})


@pytest.mark.parametrize("padded", ["7 ", " 7"])
def test_ids_with_blanks_stay_apart_unless_the_config_says_int64(tmp_path, padded):
    path = write(tmp_path / "e.csv", [f"{id_},{id_},{k},1" for k, id_ in enumerate(("7", padded))])
    for column in ("user_id", "item_id"):
        got = read(path).execute(f"SELECT typeof({column}), {column} FROM raw_events ORDER BY __n").fetchall()
        assert got == [("VARCHAR", "7"), ("VARCHAR", padded)]
        got = read(path, **{f"{column}_type": "int64"}).execute(f"SELECT {column} FROM raw_events").fetchall()
        assert got == [(7,), (7,)]


@pytest.mark.parametrize("kind", ["continuous", "bucketised"])
def test_a_number_may_be_written_in_any_way_where_a_feature_asks_for_one(tmp_path, kind):
    features = {"context": {"x": {"kind": kind, "boundaries": [1]}}}
    con = read(write(tmp_path / "e.csv", rows("07", "+8", " 9", "")), features, context=["x"])
    assert con.execute("SELECT typeof(x), x FROM raw_events ORDER BY __n").fetchall() == [
        ("BIGINT", 7),
        ("BIGINT", 8),
        ("BIGINT", 9),
        ("BIGINT", None),
    ]
    con = read(write(tmp_path / "f.csv", rows("1e3", "99999999999999999999", "inf")), features, context=["x"])
    assert con.execute("SELECT x FROM raw_events ORDER BY __n").fetchall() == [(1000.0,), (1e20,), (float("inf"),)]


def test_lists_are_text_even_where_each_holds_one_integer(tmp_path):
    items = write(tmp_path / "i.csv", [f"{k},{k}" for k in range(5)], "item_id,tags")
    events = write(tmp_path / "e.csv", rows("1"))
    assert last(read(events, items=items), "tags", "raw_items") == ("BIGINT", 4)
    con = read(events, {"items": {"tags": {"kind": "list"}}}, items=items)
    assert last(con, "tags", "raw_items") == ("VARCHAR", "4")


@pytest.mark.parametrize(("words", "value"), [(("true", "FALSE"), False), (("no", "yes"), True), (("1", "0"), False)])
def test_labels_and_stock_may_be_words(tmp_path, words, value):
    events = write(tmp_path / "e.csv", rows(*words))
    items = write(tmp_path / "i.csv", [f"{k},{words[k % 2]}" for k in range(2)], "item_id,stock")
    con = read(events, items=items, labels=["x"], stock="stock")
    assert last(con, "x")[1] == value
    assert last(con, "stock", "raw_items") == ("BOOLEAN", value)


@pytest.mark.parametrize(
    ("end", "columns", "expected"),
    [
        ("n/a", {"labels": {"liked": "x >= 4"}}, "must hold numbers (data.labels.liked)"),
        ('"1,234"', {"labels": {"liked": "x >= 4"}}, "must hold numbers (data.labels.liked)"),
        ("1e400", {"labels": {"liked": "x >= 4"}}, "must hold numbers (data.labels.liked)"),
        ("3.5", {"position": "x"}, "must hold integers (data.position)"),
        ("maybe", {"labels": ["x"]}, "must hold 0, 1 or booleans (data.labels)"),
        ("n/a", {"context": ["x"]}, "must hold numbers (features.context.x is continuous)"),
        ("1_0", {"context": ["x"]}, "must hold numbers (features.context.x is continuous)"),
    ],
)
def test_what_is_no_number_is_named_with_file_row_and_value(tmp_path, end, columns, expected):
    few, many = write(tmp_path / "1.csv", rows("1")), write(tmp_path / "2.csv", rows(end, many="1"))
    with pytest.raises(DataError) as caught:
        read([few, many], {"context": {"x": {"kind": "continuous"}}}, **columns)
    text = end.strip('"')
    assert f"events: column 'x' {expected}, got 1 row, for example row {MANY} of {many} (" in str(caught.value)
    assert f"x = '{text}'); " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_item_without_a_price_is_named(tmp_path):
    items = write(tmp_path / "i.csv", [f"{k},{'n/a' if k == 3 else '5,5'}" for k in (3,)], "item_id,price")
    with pytest.raises(DataError) as caught:
        read(write(tmp_path / "e.csv", rows("1")), {"items": {"price": {"kind": "continuous"}}}, items=items)
    assert str(caught.value) == (
        "items: column 'price' must hold numbers (features.items.price is continuous), got 1 row, for example row 0 "
        f"of {items} (item_id = '3', price = 'n/a'); correct these values, with a point for fractions and nothing for "
        "thousands"
    )


def test_decimal_commas_are_never_misread(tmp_path):
    events = write(tmp_path / "e.csv", [f"{k};{k};{k};{k},5" for k in range(3)], HEAD.replace(",", ";"))
    with pytest.raises(DataError, match=r"must hold numbers \(data.labels.liked\), got 3 rows, .* x = '0,5'\)"):
        read(events, labels={"liked": "x >= 1"})
    assert last(read(events, context=["x"]), "x") == ("VARCHAR", "2,5")


def test_dates_are_not_compared_as_text(tmp_path):
    with pytest.raises(DataError, match="compares column 'x' with a text, got timestamp"):
        read(write(tmp_path / "e.csv", rows("13/02/2024", "01/03/2024")), labels={"new": "x >= '01/02/2024'"})


PARQUET_AND_CSV = [("item_id", "items"), ("user_id", "users")]


@pytest.mark.parametrize(("column", "table"), PARQUET_AND_CSV)
@pytest.mark.parametrize("odd", ["gift-card", "007", "+1", "1.0", "9223372036854775808"])
@pytest.mark.parametrize("csv_events", [False, True])
def test_a_text_among_ids_beside_integers_of_parquet_is_named_or_all_are_text(tmp_path, column, table, odd, csv_events):
    events = pd.DataFrame({"user_id": ["1", "2"], "item_id": ["1", "2"], "at": [5, 6]})
    others = pd.DataFrame({column: ["1", "2"]})
    whole, texts = (others, events) if csv_events else (events, others)
    texts = pd.concat([texts, texts[:1].assign(**{column: odd})])
    if csv_events:
        whole = pd.concat([whole, pd.DataFrame({column: ["3"]})])
    whole.astype({name: "int64" for name in ("user_id", "item_id") if name in whole}).to_parquet(tmp_path / "p.parquet")
    texts.to_csv(tmp_path / "c.csv", index=False)
    paths = {"events": "c.csv", table: "p.parquet"} if csv_events else {"events": "p.parquet", table: "c.csv"}
    paths = {name: str(tmp_path / path) for name, path in paths.items()}
    name, other = ("events", table) if csv_events else (table, "events")
    with pytest.raises(DataError) as caught:
        read(**paths)
    assert str(caught.value).startswith(
        f"{name}: id column '{column}' must hold integers as the {other} do, got 1 row, for example row 2 ("
    )
    assert f"set data.{column}_type = 'string'" in str(caught.value)
    con = read(**paths, **{f"{column}_type": "string"})
    got = {row[0] for row in con.execute(f"SELECT {column} FROM raw_{name}").fetchall()}
    assert got == {"1", "2", odd}
    if odd in ("gift-card", "1.0"):
        with pytest.raises(DataError, match=r"must hold int64 ids .* got 1 row"):
            read(**paths, **{f"{column}_type": "int64"})


def test_given_splits_of_csv_beside_parquet_agree_in_their_types(tmp_path):
    pd.DataFrame({"user_id": [1], "item_id": [2], "at": [5]}).to_parquet(tmp_path / "train.parquet")
    split = SplitConfig(by="files", train=str(tmp_path / "train.parquet"), test=str(tmp_path / "test.csv"))
    write(tmp_path / "test.csv", ["1,2,6"], "user_id,item_id,at")
    assert last(read(None, split=split), "item_id") == ("BIGINT", 2)
    write(tmp_path / "test.csv", ["1,02,6"], "user_id,item_id,at")
    with pytest.raises(DataError, match=r"id column 'item_id' must hold integers as split.train does, got 1 row, for"):
        read(None, split=split)
    con = read(None, split=split, item_id_type="string")
    assert con.execute("SELECT item_id FROM raw_events ORDER BY __n").fetchall() == [("2",), ("02",)]
    assert last(read(None, split=split, item_id_type="int64"), "item_id") == ("BIGINT", 2)


def test_data_of_csv_is_made_again_when_a_feature_becomes_a_number(tmp_path):
    events = write(tmp_path / "e.csv", rows("07", "08"))
    pd.read_csv(events, dtype={"x": str}).to_parquet(tmp_path / "e.parquet")

    def x_of(path: str, kind: str) -> tuple[list, int]:
        """What train/ holds of x, and when it was written."""
        run = Run(tmp_path / Path(path).suffix)
        features = msgspec.convert({"context": {"x": {"kind": kind}}}, FeaturesConfig)
        data = DataConfig(events=path, timestamp="at", context=["x"])
        split = SplitConfig(valid_fraction=0.0, test_fraction=0.0)
        prepare_data(run, data, split, ShopConfig(), 4, features=features)
        return pd.read_parquet(run.folder("data") / "train").x.tolist(), run.folder("data").stat().st_ctime_ns

    assert x_of(events, "categorical")[0] == ["07", "08"]
    assert x_of(events, "continuous")[0] == [7, 8]
    whole = str(tmp_path / "e.parquet")
    assert x_of(whole, "categorical") == x_of(whole, "continuous")


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2024-01-31 12:00:00 -0500", "2024-01-31 17:00:00"),
        ("2024-01-31 12:00:00-0500", "2024-01-31 17:00:00"),
        ("2024-01-31 12:00:00 -05:00", "2024-01-31 17:00:00"),
        ("2024-01-31T12:00:00.500 +0530", "2024-01-31 06:30:00.500000"),
        ("31/01/2024 12:00:00 -0500", "2024-01-31 17:00:00"),
    ],
)
def test_an_offset_may_stand_after_a_blank_and_without_a_colon(tmp_path, text, instant):
    events = write(tmp_path / "events.csv", [f"1,2,{text}"] * 3, "user_id,item_id,at")
    kind, value = last(read(events), "at")
    assert (kind, str(value)) == ("TIMESTAMP", instant)
