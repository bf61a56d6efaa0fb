"""Timestamps in every way that a CSV or Parquet file holds them; what is none is named with its row."""

from __future__ import annotations

import datetime

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflows.core.errors import DataError
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.instants import instant_sql
from workflows.tables.load import find_inputs, load

DAY = int(datetime.datetime(2024, 2, 1, tzinfo=datetime.timezone.utc).timestamp()) * 10**9
HOUR, SECOND = 3600 * 10**9, 10**9
MANY = 25_000


def instants(path: object) -> tuple[list[int], str]:
    con = duckdb.connect()
    data, split = DataConfig(events=str(path), timestamp="at"), SplitConfig()
    loaded = load(con, find_inputs(data, split), data, split)
    sql, unit = instant_sql(con, "raw_events", loaded.events, "at")
    return [row[0] for row in con.execute(f"SELECT {sql} FROM raw_events ORDER BY __n").fetchall()], unit


def text(root, *timestamps: str):
    path = root / "e.csv"
    path.write_text("user_id,item_id,at\n" + "".join(f'1,2,"{timestamp}"\n' for timestamp in timestamps))
    return path


def parquet(root, timestamps: pa.Array):
    ones = [1] * len(timestamps)
    pq.write_table(pa.table({"user_id": ones, "item_id": ones, "at": timestamps}), root / "e.parquet")
    return root / "e.parquet"


@pytest.mark.parametrize(
    ("timestamps", "expected", "unit"),
    [
        (["2024-02-01", "2024-02-02"], [DAY, DAY + 24 * HOUR], "date"),
        (["2024-02-01", "2024-02-01 10:00"], [DAY, DAY + 10 * HOUR], "datetime"),
        (["2024/02/01 10:00:00", "2024-2-1"], [DAY + 10 * HOUR, DAY], "datetime"),
        (["2024-02-01T10:00:00Z", "2024-02-01 10:00:00"], [DAY + 10 * HOUR] * 2, "datetime"),
        (["2024-02-01T10:00:00+05:30", "2024-02-01 00:00-04"], [DAY + 9 * HOUR // 2, DAY + 4 * HOUR], "datetime"),
        (["2024-02-01 01:00:00 Europe/Berlin", "2024-02-01"], [DAY, DAY], "datetime"),
        (["2024-02-01 00:00:00.25", "2024-02-01"], [DAY + SECOND // 4, DAY], "datetime"),
        (["2024-02-01 00:00:00.000000001", "2024-02-01T01:00+01"], [DAY + 1, DAY], "datetime"),
        (["01/02/2024", "29/02/2024 10:00"], [DAY, DAY + (28 * 24 + 10) * HOUR], "datetime"),
        (
            ["02/01/2024 10:00 PM", "02/29/2024 12:30:00 am"],
            [DAY + 22 * HOUR, DAY + 28 * 24 * HOUR + HOUR // 2],
            "datetime",
        ),
        (["01.02.2024", "2.2.2024 00:00:01"], [DAY, DAY + 24 * HOUR + SECOND], "datetime"),
        (["01/02/2024 00:00:00.123456789", "13/02/2024"], [DAY + 123_456_789, DAY + 12 * 24 * HOUR], "datetime"),
        (["02/01/2024 00:00:00.000000001", "02/13/2024 01:00 PM"], [DAY + 1, DAY + (12 * 24 + 13) * HOUR], "datetime"),
        (["13.02.2024", "01.02.2024 00:00:00.1234567"], [DAY + 12 * 24 * HOUR, DAY + 123_456_700], "datetime"),
        (["1706745600", " 1706745601"], [DAY, DAY + SECOND], "s"),
        (["1706745600", "1706745600.5"], [DAY, DAY + SECOND // 2], "s"),
        (["1706745600000", "1706745600001"], [DAY, DAY + 10**6], "ms"),
        (["007", "8"], [7, 8], "order"),
    ],
)
def test_timestamps_in_text(tmp_path, timestamps, expected, unit):
    assert instants(text(tmp_path, *timestamps)) == (expected, unit)


def test_hours_count_however_late_they_come(tmp_path):
    got, unit = instants(text(tmp_path, *["2024-02-01"] * MANY, "2024-02-01 02:00", "2024-02-01 01:00"))
    assert (got[0], got[-2:], unit) == (DAY, [DAY + 2 * HOUR, DAY + HOUR], "datetime")


@pytest.mark.parametrize(
    ("good", "bad", "reason"),
    [
        ("2024-02-01", "0000-00-00", "must hold dates or timestamps (data.timestamp)"),
        ("2024-02-01", "infinity", "must hold dates or timestamps (data.timestamp)"),
        ("2024-02-01", "-infinity", "must hold dates or timestamps (data.timestamp)"),
        ("2024-02-01", "epoch", "must hold dates or timestamps (data.timestamp)"),
        ("2024-02-01", "2024-02-30", "must hold dates or timestamps (data.timestamp)"),
        (
            "2024-02-01",
            "1706745600",
            "must hold dates or timestamps in every row, as most do, not numbers beside them (",
        ),
        (
            "1706745600",
            "2024-02-01 12:00:00",
            "must hold numbers in every row, as most do, not dates or timestamps beside",
        ),
        (
            "1706745600.5",
            "13/02/2024",
            "must hold numbers in every row, as most do, not dates or timestamps beside them",
        ),
        ("13/02/2024", "2024-02-01 12:00:00", "must hold dates or timestamps (data.timestamp)"),
        ("13/02/2024", "02/13/2024", "must hold dates or timestamps (data.timestamp)"),
        ("1706745600", "soon", "must hold numbers, as most rows do (data.timestamp)"),
        ("1706745600", "inf", "must hold neither NaN nor infinity"),
        ("1706745600.5", "nan", "must hold neither NaN nor infinity"),
        ("2024-02-01", "9999-12-31", "must lie between 1677-09-22 and 2262-04-11"),
        ("2024-02-01 10:00", "1623-01-01 10:00", "must lie between 1677-09-22 and 2262-04-11"),
        ("13/02/2024", "13/02/9999", "must lie between 1677-09-22 and 2262-04-11"),
        ("1706745600000", "1706745600", "must hold one unit, got epoch ms up to 1706745600000, but smaller units in"),
        ("2024-02-01", "", "must hold no nulls"),
    ],
)
def test_the_row_that_is_no_timestamp_is_named(tmp_path, good, bad, reason):
    with pytest.raises(DataError) as caught:
        instants(text(tmp_path, good, good, bad, good))
    message = str(caught.value)
    assert reason in message
    assert "1 row, for example row 2 " in message
    assert "\n" not in message


def test_days_and_months_that_could_be_exchanged_are_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"must hold dates whose day and month are plain .* got 1 row, for example row 1"
    ):
        instants(text(tmp_path, "03/03/2024", "01/02/2024"))


@pytest.mark.parametrize("short", ["01/01/24 00:00", "24-01-01 00:00", "13.02.24", "1/2/24", "24/01/01T10:00:00Z"])
@pytest.mark.parametrize("others", [[], ["2024-02-01"] * 2, ["1706745600"] * 2])
def test_years_of_two_digits_are_shown_as_they_are_written(tmp_path, short, others):
    with pytest.raises(DataError) as caught:
        instants(text(tmp_path, *others, short))
    assert "must hold dates or timestamps with years of four digits (data.timestamp), got 1 row, for" in str(
        caught.value
    )
    assert f"at = '{short}'); write them as 2024-01-31 12:00:00" in str(caught.value)


def test_timestamps_that_stand_as_advised_are_not_advised_so(tmp_path):
    for most in ("1706745600", "13/02/2024"):
        with pytest.raises(DataError, match="at = '2024-01-31 12:00:00'") as caught:
            instants(text(tmp_path, most, most, "2024-01-31 12:00:00"))
        assert "write all rows as one of the two" in str(caught.value) or "of all rows in one form" in str(caught.value)


@pytest.mark.parametrize(
    ("timestamps", "reason"),
    [
        (pa.array([0, None], pa.timestamp("us")), "must hold no nulls"),
        (pa.array([0, 2**63 - 1], pa.timestamp("us")), "must hold no infinity"),
        (pa.array(np.array(["2024-01-01", "9999-12-31"], "datetime64[ms]")), "must lie between 1677-09-22 and"),
        (pa.array(np.array(["2024-01-01", "1623-01-01"], "datetime64[us]")), "must lie between 1677-09-22 and"),
        (
            pa.array(np.array(["2024-01-01", "9999-12-31"], "datetime64[us]"), pa.timestamp("us", "Asia/Tokyo")),
            "must lie",
        ),
        (pa.array([datetime.date(2024, 1, 1), datetime.date(9999, 12, 31)]), "must lie between 1677-09-22 and"),
        (pa.array([0, 2**31 - 1], pa.date32()), "must hold no infinity"),
        (pa.array([0, 2_000_000_000], pa.date32()), "must lie between 1677-09-22 and"),
        (pa.array([1.7e9, float("nan")]), "must hold neither NaN nor infinity"),
        (pa.array([1.7e9, float("-inf")], pa.float32()), "must hold neither NaN nor infinity"),
        (pa.array([1.7e9, 1.7e12]), "must hold epoch seconds as it is a float, got values up to 1.7e+12 in"),
        (pa.array([0, 2**64 - 1], pa.uint64()), "must hold epoch s, ms, us or ns"),
        (pa.array([1_700_000_000_000_000, 1_700_000_000]), "must hold one unit, got epoch us"),
        (pa.array([1_700_000_000_000, 1_700_000_000, -1]), "must hold one unit, got epoch ms"),
        (pa.array([1_700_000_000_000, 1_700_000_000, -1_700_000]), "must hold one unit, got epoch ms"),
        (pa.array([1_700_000_000_000, -1_700_000_000, 5]), "must hold one unit, got epoch ms"),
    ],
)
def test_the_row_of_parquet_that_is_no_timestamp_is_named(tmp_path, timestamps, reason):
    with pytest.raises(DataError) as caught:
        instants(parquet(tmp_path, timestamps))
    message = str(caught.value)
    assert reason in message
    assert "1 row, for example row 1 " in message
    assert "\n" not in message


def test_timestamps_at_the_ends_of_the_range_are_kept(tmp_path):
    ends = np.array(["1677-09-22", "2262-04-11"], "datetime64[us]")
    assert instants(parquet(tmp_path, pa.array(ends))) == (
        ends.astype("datetime64[ns]").astype(int).tolist(),
        "datetime",
    )


def test_integers_around_1970_are_one_unit(tmp_path):
    timestamps = [-1_000_000_000_000, 2_000_000_000, 1_000_000_000_000]
    assert instants(parquet(tmp_path, pa.array(timestamps))) == ([timestamp * 10**6 for timestamp in timestamps], "ms")
