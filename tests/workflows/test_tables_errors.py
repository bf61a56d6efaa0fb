"""Each table that cannot be used is refused in one sentence: the column, the count, an example row, the remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workflows.core.errors import ConfigError, DataError
from workflows.core.run import Run
from workflows.shop.config import ShopConfig
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.stage import prepare_data

EVENTS = pd.DataFrame({"user_id": [1, 2, 1, 2], "item_id": [7, 8, 8, 9], "at": [5, 6, 7, 8], "click": [0, 1, 0, 1]})
ITEMS = pd.DataFrame({"item_id": [7, 8, 9], "in_stock": [True, True, False]})
USERS = pd.DataFrame({"user_id": [1, 2], "age": [30, 40]})
LONG = "x" * 256


def refusal(root: Path, split: SplitConfig | None = None, **columns: object) -> str:
    """Write the tables among `columns`, run the stage, and give the message it ends with."""
    tables = {"events": EVENTS, "items": ITEMS, "users": USERS, **columns}
    for name in ("events", "items", "users"):
        if isinstance(tables[name], pd.DataFrame):
            tables[name].to_parquet(root / f"{name}.parquet")
            tables[name] = str(root / f"{name}.parquet")
    data = DataConfig(**{"timestamp": "at", "labels": ["click"], **tables})
    with pytest.raises((DataError, ConfigError)) as caught:
        prepare_data(Run(root / "run"), data, split or SplitConfig(), ShopConfig(), 4)
    assert not (root / "run" / "data").exists()
    assert not (root / "run" / ".data.scratch").exists()
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(root), "DIR")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            {"events": EVENTS.drop(columns="item_id")},
            "events: expected a column 'item_id' (data.item_id), got the columns user_id, at, click; "
            "correct data.item_id",
        ),
        (
            {"labels": ["Click"]},
            "events: expected a column 'Click' (data.labels), got the columns user_id, item_id, at, click; "
            "correct data.labels ('click' is there; in a table that has both, rename one)",
        ),
        (
            {"events": EVENTS.assign(Click=1), "labels": ["Click"]},
            "events: expected a column 'Click' (data.labels), got the columns user_id, item_id, at, click, Click_1; "
            "correct data.labels ('click' is there; in a table that has both, rename one)",
        ),
        (
            {"items": ITEMS.rename(columns={"item_id": "id"})},
            "items: expected a column 'item_id' (data.item_id), got the columns id, in_stock; correct data.item_id",
        ),
        (
            {"events": EVENTS.assign(user_id=[1.0, 2, 3, 4])},
            "events: id column 'user_id' must be integer or string, got double; cast it in the file",
        ),
        (
            {"items": ITEMS.assign(item_id=["7", "8", "9"])},
            "items: id column 'item_id' holds string ids, but the events hold int64 ids; "
            "write both with one type or set data.item_id_type",
        ),
        (
            {"events": EVENTS.assign(user_id=pd.array([1, None, None, 2], "Int64"))},
            "events: column 'user_id' must hold no nulls, got 2 rows, for example row 1 (user_id = null, item_id = 8, "
            "click = 1, at = 6); drop or fill these rows",
        ),
        (
            {"events": EVENTS.assign(item_id=[7, -1, 8, -1])},
            "events: item id column 'item_id' must not hold -1, which fills up short lists of items in requests and "
            "slates, got 2 rows, for example row 1 (user_id = 2, item_id = -1, click = 1, at = 6); "
            "set data.item_id_type = 'string', or give this item another id",
        ),
        (
            {"items": pd.DataFrame({"item_id": [7, 8, 9, -1]})},
            "items: item id column 'item_id' must not hold -1, which fills up short lists of items in requests and "
            "slates, got 1 row, for example row 3 (item_id = -1); "
            "set data.item_id_type = 'string', or give this item another id",
        ),
        (
            {"items": pd.DataFrame({"item_id": pd.array([7, 8, 9, None], "Int64")})},
            "items: column 'item_id' must hold no nulls, got 1 row, for example row 3 (item_id = null); "
            "drop or fill these rows",
        ),
        (
            {"items": pd.DataFrame({"item_id": [7, 8, 9, 8]})},
            "items: column 'item_id' must hold each id once, got duplicate ids: 2 rows, for example row 1 "
            "(item_id = 8); keep one row an id",
        ),
        (
            {"users": pd.DataFrame({"user_id": [1, 1], "age": [3, 4]})},
            "users: column 'user_id' must hold each id once, got duplicate ids: 2 rows, for example row 0 "
            "(user_id = 1, age = 3); keep one row an id",
        ),
        (
            {"items": ITEMS[:1]},
            "events: column 'item_id' must name items of the items table, got unknown items in 3 rows, for example "
            "row 1 "
            "(user_id = 2, item_id = 8, click = 1, at = 6); add these items or set data.unknown_items = 'drop'",
        ),
        (
            {"events": EVENTS.assign(click=[0, 1, 2, 5])},
            "events: label column 'click' must hold 0, 1 or booleans, got 2 rows, for example row 2 (user_id = 1, "
            "item_id = 8, click = 2, at = 7); derive a 0/1 column from it",
        ),
        (
            {"events": EVENTS.assign(click=[0, 1, None, 1])},
            "events: label column 'click' must hold 0, 1 or booleans, got 1 row, for example row 2 (user_id = 1, "
            "item_id = 8, click = null, at = 7); derive a 0/1 column from it",
        ),
        (
            {"events": EVENTS.assign(click=["a", "b", "c", "d"])},
            "events: label column 'click' must hold 0, 1 or booleans, got varchar",
        ),
        ({"events": EVENTS[:0]}, "events: expected at least one row, got none in DIR/events.parquet"),
        ({"items": ITEMS[:0]}, "items: expected at least one row, got none in DIR/items.parquet"),
        (
            {"events": EVENTS.assign(at=["a", "b", "c", "d"])},
            "events: timestamp column 'at' must be a datetime, date, integer or float, got varchar; "
            "parse it when the file is written",
        ),
        (
            {"events": EVENTS.assign(at=[1e12, 2e12, 3e12, 4e12])},
            "events: timestamp column 'at' must hold epoch seconds as it is a float, got values up to 4e+12 in 4 "
            "rows, for example row 0 (user_id = 1, item_id = 7, click = 0, at = 1000000000000.0); "
            "divide it to seconds or make it an integer",
        ),
        (
            {"events": EVENTS.assign(at=pd.array([5, None, 6, 7], "Int64"))},
            "events: column 'at' must hold no nulls, got 1 row, for example row 1 (user_id = 2, item_id = 8, "
            "click = 1, at = null); drop or fill these rows",
        ),
        (
            {"events": EVENTS.assign(at=1)},
            "events: expected train events after the split by time, got 0 train, 4 valid, 0 test; too many "
            "events are of one instant to be cut there; name a finer data.timestamp, or use split.by = "
            "'leave_last_out'",
        ),
        (
            {"position": "at", "events": EVENTS.assign(at=[1.5, 2, 3, 4])},
            "events: position column 'at' must be integer, got double",
        ),
        (
            {"propensity": "p", "events": EVENTS.assign(p=[0.5, 1.5, None, -1])},
            "events: propensity column 'p' must hold probabilities from 0 to 1, got 2 rows, for example row 1 "
            "(user_id = 2, item_id = 8, click = 1, p = 1.5, at = 6); give the probability with which chance showed "
            "the item, null where a policy chose it",
        ),
        (
            {"propensity": "p", "events": EVENTS.assign(p=["a", "b", "c", "d"])},
            "events: propensity column 'p' must hold probabilities, got varchar; give the probability with which "
            "chance showed the item, null where a policy chose it",
        ),
        (
            {"propensity": "p"},
            "events: expected a column 'p' (data.propensity), got the columns user_id, item_id, at, click; "
            "correct data.propensity",
        ),
        (
            {"stock": "in_stock", "items": ITEMS.assign(in_stock=["yes", "no", "no"])},
            "items: stock column 'in_stock' must be boolean, got varchar; cast it",
        ),
        (
            {"stock": "in_stock", "items": None},
            "items: expected a table with the column 'in_stock' (data.stock), got none; set data.items",
        ),
        (
            {"events": "DIR/nowhere.parquet"},
            "events: expected a file or folder at DIR/nowhere.parquet, got nothing there; correct data.events",
        ),
        ({"events": "DIR/no*.csv"}, "events: expected files at DIR/no*.csv, got no match; correct data.events"),
        (
            {"events": "memory://no/where.csv"},
            "events: expected files at memory://no/where.csv, got nothing there; correct data.events",
        ),
        (
            {"events": None},
            "data.events must name the events, got nothing; set data.events to a path or data.source = 'shop'",
        ),
    ],
)
def test_the_sentence(tmp_path, columns, expected):
    columns = {
        key: value.replace("DIR", str(tmp_path)) if isinstance(value, str) else value for key, value in columns.items()
    }
    assert refusal(tmp_path, **columns) == expected


@pytest.mark.parametrize(
    ("bad", "wanted", "shown"),
    [
        ("a\0b", "no NUL bytes", r"'a\x00b'"),
        (LONG, "at most 255 bytes of UTF-8", "'" + "x" * 79 + "..."),
        ("", "no empty strings", "''"),
    ],
)
def test_string_ids_that_cannot_travel_are_refused(tmp_path, bad, wanted, shown):
    events = EVENTS.assign(user_id=["a", bad, "b", "c"])
    assert refusal(tmp_path, events=events, users=None) == (
        f"events: id column 'user_id' must hold {wanted}, got 1 row, for example row 1 (user_id = {shown}, "
        "item_id = 8, click = 1, at = 6); rename these ids"
    )


def test_ids_beyond_int64_are_refused(tmp_path):
    events = EVENTS.assign(user_id=np.array([1, 2**64 - 1, 2, 3], np.uint64))
    message = refusal(tmp_path, events=events, users=None)
    assert message.startswith(
        "events: id column 'user_id' must fit in int64, got 1 row, for example row 1 (user_id = 18446744073709551615"
    )


def test_an_unknown_split_value_is_refused(tmp_path):
    events = EVENTS.assign(split=["train", "dev", "test", None])
    assert refusal(tmp_path, SplitConfig(by="column"), events=events) == (
        "events: split column 'split' must hold train, valid, test, got 2 rows, for example row 1 (user_id = 2, "
        "item_id = 8, click = 1, at = 6, split = 'dev'); rename these values"
    )


def test_a_split_without_train_is_refused(tmp_path):
    message = refusal(tmp_path, SplitConfig(by="column"), events=EVENTS.assign(split="test"))
    assert "expected train events after the split by column, got 0 train, 0 valid, 4 test" in message


def test_split_by_files_needs_train_and_one_schema(tmp_path):
    assert refusal(tmp_path, SplitConfig(by="files")) == (
        "split.by = 'files' needs split.train, got none; set split.train to a path"
    )
    EVENTS.to_parquet(tmp_path / "train.parquet")
    EVENTS.assign(item_id=["7", "8", "8", "9"]).to_parquet(tmp_path / "test.parquet")
    split = SplitConfig(by="files", train=str(tmp_path / "train.parquet"), test=str(tmp_path / "test.parquet"))
    assert refusal(tmp_path, split) == (
        "split.test: id column 'item_id' holds varchar in DIR/test.parquet, but bigint in DIR/train.parquet "
        "(split.train); write both with one type or set data.item_id_type"
    )


@pytest.mark.parametrize("kept", [0, 10, 0.5])
def test_a_truncated_file_is_named(tmp_path, kept):
    (tmp_path / "parts").mkdir()
    EVENTS.to_parquet(tmp_path / "parts" / "a.parquet")
    whole = (tmp_path / "parts" / "a.parquet").read_bytes()
    size = int(len(whole) * kept) if isinstance(kept, float) else kept
    (tmp_path / "parts" / "b.parquet").write_bytes(whole[:size])
    message = refusal(tmp_path, events=str(tmp_path / "parts"))
    assert message.startswith("events: DIR/parts/b.parquet cannot be read as Parquet (")
    assert message.endswith("); write the file again")


def test_damage_inside_a_parquet_file_is_named(tmp_path):
    EVENTS.to_parquet(tmp_path / "e.parquet")
    content = bytearray((tmp_path / "e.parquet").read_bytes())
    content[4:200] = b"\xff" * 196
    (tmp_path / "e.parquet").write_bytes(bytes(content))
    assert refusal(tmp_path, events=str(tmp_path / "e.parquet")).startswith(
        "events: DIR/e.parquet cannot be read as Parquet ("
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["e.txt"], "events: expected a name that ends in parquet, pq, csv, tsv, csv.gz, tsv.gz, got DIR/e.txt"),
        (["e.csv", "e.parquet"], "events: expected files of one format, got Parquet and CSV in "),
    ],
)
def test_formats_that_are_unknown_or_mixed_are_refused(tmp_path, names, message):
    for name in names:
        (tmp_path / name).touch()
    assert refusal(tmp_path, events=[str(tmp_path / name) for name in names]).startswith(message)


def test_an_empty_folder_and_an_unknown_scheme_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path, events=str(tmp_path / "empty")) == (
        "events: expected Parquet or CSV files in DIR/empty, got none; correct data.events"
    )
    assert refusal(tmp_path, events="gopher://x/y.csv").startswith("events: the URL scheme gopher:// cannot be used (")
