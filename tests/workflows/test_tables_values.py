"""Numbers and texts of columns, whatever their types are; those who read columns of the items, the users and a log."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ensemble.evaluation.queries import read_segment
from ensemble.export.worth import worth_of
from models.send_gate.columns import numbers
from models.sources.base import numbers_of
from models.sources.item_scores import dates_of
from operations.notify.candidates import _feature
from operations.shadow.shadow import categories_of
from runtime.ranker.spec import TaskSpec
from workflows.core.errors import ConfigError, DataError
from workflows.tables.values import floats_of, has_texts, is_number, texts_of

PRICES = pa.array([Decimal("1.25"), None, Decimal("3.50")], pa.decimal128(10, 2))
HUGE = pa.array([2**63 - 1, 1, 2], pa.int64())
FAR = dt.date(9999, 12, 31)


def test_numbers_are_integers_floats_and_decimals_of_any_width() -> None:
    for kind in (pa.uint8(), pa.int64(), pa.float32(), pa.decimal128(10, 2), pa.decimal256(40, 2)):
        assert is_number(kind)
    assert not any(map(is_number, (pa.bool_(), pa.string(), pa.date32(), pa.time64("us"), pa.list_(pa.int64()))))
    np.testing.assert_array_equal(floats_of(pa.chunked_array([PRICES])), [1.25, np.nan, 3.5])
    np.testing.assert_array_equal(floats_of(pa.chunked_array([HUGE])), [2.0**63, 1, 2])


def test_texts_are_of_single_values_and_bytes_that_are_no_text_end_nothing() -> None:
    assert not any(map(has_texts, (pa.list_(pa.string()), pa.struct({"a": pa.int64()}), pa.map_("string", "string"))))
    said = [
        (pa.array([b"a", None, b"b\xff"]), ["a", "none", "b\ufffd"]),
        (pa.array([b"a", None, b"b\xff"], pa.large_binary()), ["a", "none", "b\ufffd"]),
        (pa.array([True, None]), ["true", "none"]),
        (pa.array([FAR, None]), ["9999-12-31", "none"]),
        (pa.array([dt.time(3), None], pa.time64("us")), ["03:00:00.000000", "none"]),
        (PRICES, ["1.25", "none", "3.50"]),
        (pa.nulls(2), ["none", "none"]),
    ]
    for values, expected in said:
        assert has_texts(values.type) and texts_of(pa.chunked_array([values]), "none").tolist() == expected


def test_what_is_new_goes_by_decimals_and_by_dates_beyond_the_year_2262(tmp_path: Path) -> None:
    days = [FAR, dt.date(2026, 2, 1), None]
    columns = {"price": PRICES, "until": pa.array(days), "at": pa.array([dt.time(1)] * 3), "age": HUGE}
    pq.write_table(pa.table(columns), tmp_path / "items.parquet")
    np.testing.assert_array_equal(dates_of(tmp_path / "items.parquet", "price"), [1.25, np.nan, 3.5])
    far, near, none = dates_of(tmp_path / "items.parquet", "until")
    assert (near, np.isnan(none)) == (1769904000 * 1e9, True)
    assert far == (FAR - dt.date(1970, 1, 1)).days * 86_400e9
    with pytest.raises(ConfigError, match=r"'at': the items table holds time64\[us\] there; expected dates or numbers"):
        dates_of(tmp_path / "items.parquet", "at")
    assert isinstance(numbers_of(tmp_path / "items.parquet", "at"), str)


def test_decimals_are_worth_something(tmp_path: Path) -> None:
    pq.write_table(pa.table({"margin": PRICES.fill_null(Decimal("2.00"))}), tmp_path / "items.parquet")
    np.testing.assert_array_equal(
        worth_of("click * margin", (TaskSpec("click"),), tmp_path / "items.parquet"),
        worth_of("click * margin", (TaskSpec("click"),), _floats(tmp_path)),
    )


def _floats(folder: Path) -> Path:
    pq.write_table(pa.table({"margin": [1.25, 2.0, 3.5]}), folder / "floats.parquet")
    return folder / "floats.parquet"


def test_the_send_gate_reads_decimals_and_large_integers(tmp_path: Path) -> None:
    table = pa.table({"spend": PRICES, "visits": HUGE})
    np.testing.assert_array_equal(numbers(table, "spend"), [1.25, np.nan, 3.5])
    np.testing.assert_array_equal(numbers(table, "visits"), [2.0**63, 1, 2])
    np.testing.assert_array_equal(_feature(tmp_path, table, "visits"), [2.0**63, 1, 2])
    np.testing.assert_array_equal(_feature(tmp_path, table.slice(2), "spend"), [3.5])


def test_segments_and_categories_are_columns_of_single_values(tmp_path: Path) -> None:
    (tmp_path / "data/ids").mkdir(parents=True)
    np.save(tmp_path / "data/ids/items.npy", np.array([b"a", b"b"], "S1"))
    lists = pa.array([["x"], []], pa.list_(pa.string()))
    structs = pa.array([{"a": 1}, None])
    pq.write_table(pa.table({"category": lists, "raw": [b"\xff", None]}), tmp_path / "data/items.parquet")
    pq.write_table(pa.table({"tags": lists, "home": structs, "raw": [b"\xff", None]}), tmp_path / "data/users.parquet")
    assert categories_of(tmp_path, "") == {}  # no category of its own, which ended the gate
    assert categories_of(tmp_path, "raw") == {"a": "\ufffd", "b": "none"}
    with pytest.raises(DataError, match=r"gate\.category = 'category' holds values of type list<.*single values$"):
        categories_of(tmp_path, "category")
    assert read_segment(tmp_path / "data/users.parquet", "raw").tolist() == ["\ufffd", "unknown"]
    for column in ("tags", "home"):
        with pytest.raises(DataError, match=rf"^users: '{column}' \(evaluate\.segments\) holds values of type "):
            read_segment(tmp_path / "data/users.parquet", column)
