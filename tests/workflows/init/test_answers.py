"""Tables that cannot be used are answered in one sentence that says what came and what to do."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflows.core.errors import DataError
from workflows.init.find import find_out
from workflows.init.roles import Given

NOTHING = Given()
EVENTS = "user_id,item_id,timestamp\n" + "".join(f"u{k % 7},i{k % 5},{1_700_000_000 + k * 5000}\n" for k in range(200))


def refused(folder: Path, *tables: str, given: Given = NOTHING) -> str:
    """The sentence of tables that cannot be used, which are left as they are."""
    before = sorted(folder.rglob("*"))
    with pytest.raises(DataError) as error:
        find_out([str(folder / table) for table in tables], given, folder / "config_tables")
    assert sorted(folder.rglob("*")) == before
    assert "\n" not in str(error.value)
    return str(error.value).replace(f"{folder}/", "")


def test_a_table_without_rows(tmp_path):
    (tmp_path / "events.csv").write_text("user_id,item_id,timestamp\n")
    pq.write_table(pa.table({"user_id": pa.array([], pa.int64())}), tmp_path / "events.parquet")
    assert refused(tmp_path, "events.csv").startswith("events.csv is empty: it has columns (user_id, item_id,")
    assert refused(tmp_path, "events.parquet").startswith("events.parquet is empty: it has columns (user_id) and no ro")
    (tmp_path / "nothing.csv").write_text("")
    for content in ("[]", "{}", "[{}]", "[[]]"):
        (tmp_path / "none.json").write_text(content)
        assert refused(tmp_path, "none.json") == "none.json is empty: no object in it has a key; give a table with rows"
    (tmp_path / "twice.csv").write_text("user_id,item_id,USER_ID\n1,2,3\n")
    said = "twice.csv: the columns 'user_id' and 'USER_ID' differ in case alone; rename one"
    assert refused(tmp_path, "twice.csv") == said
    assert refused(tmp_path, "nothing.csv") == "nothing.csv is empty; give a table with rows"


def test_no_column_of_a_user(tmp_path):
    (tmp_path / "events.csv").write_text(EVENTS.replace("user_id", "who"))
    assert refused(tmp_path, "events.csv") == (
        "expected a column with the user of each event, got none: events.csv has who, item_id, timestamp; name it with "
        "--user-id COLUMN"
    )
    found = find_out([str(tmp_path / "events.csv")], Given(user="who"), tmp_path / "config_tables")
    assert found.sketch.user == "who"


def test_no_column_of_an_item(tmp_path):
    (tmp_path / "events.csv").write_text(EVENTS.replace("item_id", "thing"))
    assert refused(tmp_path, "events.csv") == (
        "expected a column with the item of each event, got none: events.csv has user_id, thing, timestamp; name it "
        "with --item-id COLUMN"
    )
    given = Given(item="thing")
    assert find_out([str(tmp_path / "events.csv")], given, tmp_path / "config_tables").sketch.item == "thing"


def test_a_column_that_is_not_there(tmp_path):
    (tmp_path / "events.csv").write_text(EVENTS)
    assert refused(tmp_path, "events.csv", given=Given(user="buyer")) == (
        "--user-id buyer: expected a column of the tables, got events.csv: user_id, item_id, timestamp; correct it"
    )
    assert refused(tmp_path, "events.csv", given=Given(time="when")).startswith("--timestamp when: expected a column")


def test_tables_that_do_not_join(tmp_path):
    (tmp_path / "events.csv").write_text(EVENTS)
    (tmp_path / "items.csv").write_text("item_id,kind\n" + "".join(f"sku-{k},{k % 2}\n" for k in range(5)))
    assert refused(tmp_path, "events.csv", "items.csv") == (
        "events.csv and items.csv do not join: of the ids in events.csv.item_id 0% are in items.csv.item_id (for "
        "example 'i0' against 'sku-0'); give the tables that belong together, or write the ids alike"
    )


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "events.zip").write_bytes(b"PK\x03\x04....")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(EVENTS.encode())[:100])
    (tmp_path / "broken.parquet").write_bytes(b"PAR1" + b"\0" * 100)
    (tmp_path / "image.csv").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    (tmp_path / "words.txt").write_text("some words\nand more\n")
    (tmp_path / "odd.json").write_text("{user: 1,\n item: 2}\n")
    assert refused(tmp_path, "events.zip").startswith("events.zip is no table: its content is zip or Excel; unpack")
    assert refused(tmp_path, "cut.csv.gz").startswith("cut.csv.gz cannot be read (")
    assert refused(tmp_path, "broken.parquet").startswith("broken.parquet cannot be read (")
    assert refused(tmp_path, "image.csv").startswith("image.csv is no table that can be read")
    assert refused(tmp_path, "words.txt").startswith("words.txt: expected columns that a comma, semicolon, tab,")
    assert refused(tmp_path, "odd.json").startswith("odd.json cannot be read as JSON lines: its first line is")
    assert refused(tmp_path, "gone.csv").startswith("gone.csv: expected a table or a folder of tables, got nothing")


def test_a_folder_without_tables(tmp_path, capsys):
    (tmp_path / "README.txt").write_text("about\n")
    assert "got none; name files of Parquet, CSV or JSON lines" in refused(tmp_path, ".")
    assert "README.txt is left out" in capsys.readouterr().err.replace("\n", "")


def test_no_column_of_a_time_is_said_and_the_order_of_the_rows_stands_for_it(tmp_path):
    (tmp_path / "events.csv").write_text("user,item\n" + "".join(f"u{k % 7},i{k % 5}\n" for k in range(200)))
    found = find_out([str(tmp_path / "events.csv")], Given(), tmp_path / "config_tables")
    assert found.sketch.time is None and found.split.lines == ['by = "leave_last_out"']
    assert found.split.why == [
        "no column says when an event was, so the order of the rows stands for it: the last event of each user is "
        "test, the one before it valid"
    ]


def test_a_time_with_mistakes_is_asked_for_with_the_value_at_fault(tmp_path):
    rows = [f"u{k % 7},i{k % 5},{1 + k % 28:02}/03/2026 10:{k % 60:02}" for k in range(200)]
    (tmp_path / "events.csv").write_text("\n".join(["user,item,Date", *rows[:99], "u1,i1,n/a", *rows[99:]]) + "\n")
    found = find_out([str(tmp_path / "events.csv")], Given(), tmp_path / "config_tables")
    [(question, _)] = found.sketch.doubts
    assert found.sketch.time is None
    assert question.startswith("is 'Date' the time? 1 of its 201 values cannot be read, such as 'n/a': expected ")
    assert "Correct or empty them, and call this again" in question


def test_a_numeric_time_in_two_units_is_asked_for_and_refused_where_it_was_named(tmp_path):
    rows = [f"u{k % 7},i{k % 5},{(1_700_000_000 + k * 5000) * (1000 if k > 150 else 1)}" for k in range(200)]
    (tmp_path / "events.csv").write_text("\n".join(["user,item,time", *rows]) + "\n")
    words = "its 200 values are not of one unit between 1990 and 2034: 151 in s, 49 in ms"
    [(question, _)] = find_out([str(tmp_path / "events.csv")], Given(), tmp_path / "config_tables").sketch.doubts
    assert question.startswith(f"is 'time' the time? {words}. ")
    sentence = refused(tmp_path, "events.csv", given=Given(time="time"))
    assert sentence == f"--timestamp time: {words}; correct that, or name another column"


def test_a_time_that_was_named_and_cannot_be_read_is_refused(tmp_path):
    rows = [f"u{k % 7},i{k % 5},2026-03-{1 + k % 28:02},,k{k}" for k in range(200)]
    (tmp_path / "events.csv").write_text("\n".join(["user,item,When,Gone,Word", *rows, "u1,i1,2026-02-30,,k"]) + "\n")
    assert refused(tmp_path, "events.csv", given=Given(time="When")) == (
        "--timestamp When: 1 of its 201 values cannot be read, such as '2026-02-30': expected dates or timestamps; "
        "correct that, or name another column"
    )
    assert refused(tmp_path, "events.csv", given=Given(time="Gone")) == (
        "--timestamp Gone: it is empty in all rows of events.csv; correct that, or name another column"
    )
    assert "expected dates, timestamps or seconds since 1970, got such as 'k" in refused(
        tmp_path, "events.csv", given=Given(time="Word")
    )


def test_a_column_that_was_named_is_not_asked_for_again(tmp_path):
    (tmp_path / "events.csv").write_text(EVENTS.replace("user_id", "who").replace("item_id", "thing"))
    (tmp_path / "people.csv").write_text("who,age\n" + "".join(f"u{k},{k}\n" for k in range(7)))
    seen = "events.csv has who, thing, timestamp; people.csv has who, age"
    assert refused(tmp_path, "events.csv", "people.csv", given=Given(user="who")) == (
        f"expected a column with the item of each event beside its user 'who', got none: {seen}; name it with "
        "--item-id COLUMN"
    )
    assert refused(tmp_path, "events.csv", "people.csv", given=Given(item="thing")) == (
        f"expected a column with the user of each event beside its item 'thing', got none: {seen}; name it with "
        "--user-id COLUMN"
    )
    (tmp_path / "things.csv").write_text("thing,kind\n" + "".join(f"t{k},{k % 2}\n" for k in range(7)))
    assert refused(tmp_path, "things.csv", "people.csv", given=Given(user="who", item="thing")) == (
        "expected a table with both 'who' (--user-id) and 'thing' (--item-id), got none: things.csv has thing, kind; "
        "people.csv has who, age; name columns of the events"
    )
    assert refused(tmp_path, "events.csv").endswith("--user-id COLUMN, and that of the item with --item-id COLUMN")


def test_an_event_needs_a_value_in_a_column_that_is_empty(tmp_path):
    rows = "".join(f"u{k % 7},,{1_700_000_000 + k * 5000}\n" for k in range(200))
    (tmp_path / "events.csv").write_text("user,thing,time\n" + rows)
    assert refused(tmp_path, "events.csv", given=Given(item="thing")).startswith(
        "events.csv: 'thing' is empty in all rows, and an event needs a value there; "
    )


def test_a_line_with_too_many_values_is_named_with_the_way_out(tmp_path):
    lines = EVENTS.splitlines()
    (tmp_path / "events.csv").write_text("\n".join([*lines[:150], "u1,i1,1700000000,x", *lines[150:]]) + "\n")
    assert refused(tmp_path, "events.csv") == (
        "events.csv cannot be read: line 151 is 'u1,i1,1700000000,x': it has 4 values, and the table has 3 columns; "
        "put values that hold the separator in double quotes, or correct the line"
    )
