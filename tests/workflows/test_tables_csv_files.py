"""The dialect of a CSV file comes from its first line; what cannot be read is named with line, column and encoding."""

from __future__ import annotations

import gzip
from pathlib import Path

import duckdb
import pytest

from workflows.core.errors import DataError
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.load import find_inputs, load

HEAD = b"user,item,at\n"
ROWS = b"a,x,1\nb,y,2\n"


def read(root: Path, content: bytes, name: str = "e.csv") -> list[tuple]:
    """The rows (user, item, at) of a file with this content."""
    (root / name).write_bytes(content)
    return rows_of(str(root / name))


def rows_of(events: object) -> list[tuple]:
    con = duckdb.connect()
    data, split = DataConfig(events=events, user_id="user", item_id="item", timestamp="at"), SplitConfig()
    load(con, find_inputs(data, split), data, split)
    return con.execute('SELECT "user", item, "at" FROM raw_events ORDER BY __n').fetchall()


def refusal(root: Path, content: bytes, name: str = "e.csv") -> str:
    with pytest.raises(DataError) as caught:
        read(root, content, name)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(root), "DIR")


@pytest.mark.parametrize(
    "content",
    [
        HEAD + ROWS,
        b"\xef\xbb\xbf" + HEAD + ROWS,
        (HEAD + ROWS).replace(b"\n", b"\r\n"),
        (HEAD + ROWS).replace(b"\n", b"\r"),
        (HEAD + ROWS).replace(b",", b";"),
        (HEAD + ROWS).replace(b",", b"\t"),
        (HEAD + ROWS).replace(b",", b"|"),
        HEAD + ROWS.removesuffix(b"\n"),
        b"\n\n" + HEAD + ROWS + b"\n\n",
        HEAD + b"a,x,1\n\nb,y,2\n",
        b'"user" , "item",  at\n' + ROWS,
        b"at,item,user,,\n1,x,a,,\n2,y,b,,\n",
        HEAD + b"a,x,1,\nb,y,2,\n",
    ],
)
def test_dialects_that_say_the_same(tmp_path, content):
    assert read(tmp_path, content) == [("a", "x", 1), ("b", "y", 2)]


def test_a_packed_file_is_read(tmp_path):
    assert read(tmp_path, gzip.compress(HEAD + ROWS), "e.csv.gz") == [("a", "x", 1), ("b", "y", 2)]


@pytest.mark.parametrize(
    ("line", "user", "item"),
    [
        (b"#a,x,1", "#a", "x"),
        (b"'a','x',1", "'a'", "'x'"),
        (b"'a,x',1", "'a", "x'"),
        (b"a|b;c,x\ty,1", "a|b;c", "x\ty"),
        (b'"a\\b","x\\",1', "a\\b", "x\\"),
        (b'"a, ""b""","x\n y",1', 'a, "b"', "x\n y"),
        (b'5" pipe,b "c",1', '5" pipe', 'b "c"'),
        (b" a , x,1", " a ", " x"),
        (b"NULL,None,1", "NULL", "None"),
    ],
)
@pytest.mark.parametrize("before", [0, 3000])
def test_values_are_kept_wherever_they_first_appear(tmp_path, line, user, item, before):
    got = read(tmp_path, HEAD + b"u,i,1\n" * before + line + b"\n")
    assert got[before] == (user, item, 1)
    assert len(got) == before + 1


def test_each_file_has_a_dialect_of_its_own_and_order_is_kept(tmp_path):
    (tmp_path / "1.csv").write_bytes(HEAD + b"a,x,1\n")
    (tmp_path / "2.csv").write_bytes(b"item;at;user;more\ny;2;b;m\n")
    (tmp_path / "3.csv").write_bytes(b"")
    (tmp_path / "4.csv").write_bytes(HEAD + b"c,z,3\n")
    assert rows_of(str(tmp_path)) == [("a", "x", 1), ("b", "y", 2), ("c", "z", 3)]


@pytest.mark.parametrize(("items", "expected"), [(("1", "2"), [1, 2]), (("001", "2"), ["001", "2"])])
def test_values_of_partitions_are_text_like_those_of_the_files(tmp_path, items, expected):
    for item in items:
        folder = tmp_path / f"item={item}" / "day=2024-01-01"
        folder.mkdir(parents=True)
        (folder / "part.csv").write_bytes(b"user,at\na,1\n")
    assert rows_of(str(tmp_path)) == [("a", item, 1) for item in expected]


def test_the_needed_columns_tell_the_delimiter(tmp_path):
    assert read(tmp_path, b"user;item;at;a,b,c,d,e\na;x;1;p\n") == [("a", "x", 1)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            HEAD + ROWS + b"a,x,1,more\nb,y\n",
            "line 4 ('a,x,1,more') has 4 values, but the first line names 3 columns; put values that hold ',' in "
            "double quotes, or correct the lines",
        ),
        (
            HEAD + ROWS + b"a,x\nb,y\n",
            "line 4 ('a,x') has 2 values, but the first line names 3 columns, as do 1 other lines; fill or "
            "drop the lines",
        ),
        (
            HEAD + ROWS + b'"a\\"b",x,1\n',
            "line 4 ('\"a\\\\\"b\",x,1') has a quote in column 'user' that is not closed, or stands inside a quoted "
            "value; double every quote inside a quoted value (a backslash before it does not help)",
        ),
        (
            HEAD + ROWS + "a,é,1\nb,è,2\n".encode("latin-1"),
            "line 4 ('a,é,1') is not UTF-8 in column 'item', perhaps Latin-1 or Windows-1252, as do 1 other lines; "
            "convert it with: iconv -f WINDOWS-1252 -t UTF-8 DIR/e.csv",
        ),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path, content, expected):
    assert refusal(tmp_path, content) == f"events: DIR/e.csv cannot be read as CSV: {expected}"


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        (b"", "e.csv", "DIR/e.csv is empty; its first line must hold the names of the columns"),
        (HEAD, "e.csv", "expected at least one row, got none in DIR/e.csv"),
        (
            (HEAD + ROWS).decode().encode("utf-16"),
            "e.csv",
            "DIR/e.csv is encoded in UTF-16, expected UTF-8; convert it with: iconv -f UTF-16 -t UTF-8 DIR/e.csv",
        ),
        (
            (HEAD + ROWS).decode().encode("utf-16-le"),
            "e.csv",
            "DIR/e.csv is encoded in UTF-16, expected UTF-8; convert it with: iconv -f UTF-16 -t UTF-8 DIR/e.csv",
        ),
        (
            "user,item,où\n".encode("latin-1") + ROWS,
            "e.csv",
            "the first line of DIR/e.csv is not UTF-8; save the file as UTF-8",
        ),
        (
            b"user,item,user,at\na,x,b,1\n",
            "e.csv",
            "expected every column once in the first line of DIR/e.csv, got 'user' twice (upper and lower case count "
            "as one); rename one of the two",
        ),
        (
            b"5,7,1700000000\n6,8,1700000001\n",
            "e.csv",
            "expected a column 'user' (data.user_id), got the columns 5, 7, 1700000000; give the file a first line "
            "with the names of its columns",
        ),
        (
            b"PK\x03\x04...",
            "e.csv",
            "DIR/e.csv cannot be read as CSV: its content is zip or Excel; unpack or convert it",
        ),
        (
            HEAD + ROWS,
            "e.csv.gz",
            "DIR/e.csv.gz cannot be read as CSV (Not a gzipped file (b'us')); write the file again",
        ),
        (
            HEAD.replace(b"\n", b"\r\n") + ROWS,
            "e.csv",
            "DIR/e.csv cannot be read as CSV (some lines end in a carriage return and a line feed, others in a line "
            "feed alone); write the file again",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, content, name, expected):
    assert refusal(tmp_path, content, name) == f"events: {expected}"


@pytest.mark.parametrize("delimiter", ["^", "~", "\x01", "::", " "])
def test_a_delimiter_that_is_not_read_is_said_with_those_that_are(tmp_path, delimiter):
    content = (HEAD + ROWS).decode().replace(",", delimiter).encode()
    message = refusal(tmp_path, content)
    assert message.startswith("events: expected a column 'user' (data.user_id), got the columns user")
    assert message.endswith(
        "; correct data.user_id, or write DIR/e.csv with a delimiter that is read: comma, semicolon, tab or |"
    )


def test_a_column_may_be_called_as_the_reader_calls_its_own(tmp_path):
    content = b"user,item,at,__file,filename,__n\na,x,1,f,g,h\n"
    assert read(tmp_path, content) == [("a", "x", 1)]
    message = refusal(tmp_path, content + b"b,y,noon,f,g,h\n")
    assert "got 1 row, for example row 1 of DIR/e.csv (" in message


def test_a_part_without_names_is_named(tmp_path):
    (tmp_path / "1.csv").write_bytes(HEAD + ROWS)
    (tmp_path / "2.csv").write_bytes(b"c,z,3\n")
    with pytest.raises(DataError, match=r"2.csv has no column 'user' in its first line, .* got c, z, 3"):
        rows_of([str(tmp_path / "1.csv"), str(tmp_path / "2.csv")])


def test_what_is_not_utf_8_in_a_column_that_nobody_reads_is_no_matter(tmp_path):
    assert read(tmp_path, "user,item,at,title\na,x,1,é\n".encode().replace("é".encode(), b"\xe9")) == [("a", "x", 1)]
