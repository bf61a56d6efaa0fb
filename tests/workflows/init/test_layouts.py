"""Table layouts that people have: each becomes a config that is read and prepared as it is written."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from ensemble.config import Config
from ensemble.config_file import load_config
from tests.workflows.init.layouts import LAYOUTS
from workflows.core.run import Run
from workflows.init import profile, split
from workflows.init.find import find_out
from workflows.init.page import Findings, page, questions
from workflows.init.roles import Given
from workflows.tables.stage import prepare_data

# Layout -> user, item, time, split, features of items, of users, context.
FOUND: dict[str, tuple[str, str, str | None, str, set[str], set[str], list[str]]] = {
    "movielens_dat": (
        *("user_id", "item_id", "timestamp", "time"),
        *({"genres"}, {"gender", "age", "occupation", "zip_code"}, []),
    ),
    "movielens_csv": ("userId", "movieId", "timestamp", "time", {"genres"}, set(), []),
    "amazon": ("reviewerID", "asin", "unixReviewTime", "time", {"brand", "category", "also_buy"}, set(), []),
    "amazon_2023": (
        *("user_id", "parent_asin", "timestamp", "time"),
        *({"main_category", "price", "store", "categories"}, set(), []),
    ),
    "retailrocket": ("visitorid", "itemid", "timestamp", "time", {"categoryid"}, set(), []),
    "yoochoose": ("session_id", "item_id", "timestamp", "time", {"price", "category"}, set(), []),
    "hm": (
        *("customer_id", "article_id", "t_dat", "time"),
        {"product_code", "product_type_no", "product_type_name"},
        *({"FN", "club_member_status", "age", "postal_code"}, ["sales_channel_id"]),
    ),
    "lastfm": ("userid", "traid", "timestamp", "time", {"artid", "artname"}, {"gender", "age", "country"}, []),
    "lastfm_hetrec": ("userID", "artistID", None, "leave_last_out", set(), set(), []),
    "steam": ("user_id", "game", None, "leave_last_out", set(), set(), []),
    "steam_reviews": (
        *("username", "product_id", "date", "time"),
        *({"publisher", "genres", "price", "developer", "early_access"}, set(), []),
    ),
    "goodreads": (
        *("user_id", "book_id", "date_added", "time"),
        *({"language_code", "num_pages", "publisher", "publication_year", "authors"}, set(), []),
    ),
    "instacart": (
        *("user_id", "product_id", "order_number", "leave_last_out", {"aisle_id", "department_id"}, set()),
        ["order_dow", "order_hour_of_day"],
    ),
    "shopify": ("Email", "Lineitem sku", "Created at", "time", {"Lineitem price", "Vendor"}, set(), []),
    "ga4": (
        *("user_pseudo_id", "item_id", "event_timestamp", "time"),
        *({"item_category", "item_price"}, set(), ["device_category", "geo_country"]),
    ),
}
FOUND["ga4_csv"] = FOUND["ga4"]


def written(folder: Path, monkeypatch: pytest.MonkeyPatch, layout: str) -> tuple[Findings, Config, str]:
    """What init finds in the tables of a layout, the config that it writes, and its text."""
    monkeypatch.chdir(folder)
    found = find_out(LAYOUTS[layout](folder), Given(), Path("config_tables"))
    text = page(found, "config.toml", "cascade init TABLES")
    Path("config.toml").write_text(text, encoding="utf-8")
    return found, load_config(Path("config.toml")), text


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_becomes_a_config_that_is_prepared_unchanged(tmp_path, monkeypatch, layout):
    found, config, text = written(tmp_path, monkeypatch, layout)
    user, item, time, split, items, users, context = FOUND[layout]
    assert (config.data.user_id, config.data.item_id, config.data.timestamp) == (user, item, time)
    assert (config.split.by, set(config.features.items), set(config.features.users)) == (split, items, users)
    assert config.data.context == context
    done = prepare_data(Run(Path("run")), config.data, config.split, config.shop, 0, features=config.features)
    assert done.info["num_users"] == 60 and done.info["num_items"] == 40
    assert all(done.info["rows"][name] for name in ("train", "valid", "test"))
    for question, _ in questions(found):
        assert question in text


def test_the_config_says_why_each_column_was_taken(tmp_path, monkeypatch):
    text = written(tmp_path, monkeypatch, "movielens_dat")[2]
    assert "# events: ratings.dat, 900 rows" in text
    assert re.search(r"#   user_id +integer, 60 values -> the user\n", text)
    assert re.search(r"#   timestamp +integer, \d+ values -> the time, in s since 1970\n", text)
    assert re.search(r"#   movie_id +integer, 40 values -> the ids; 100.0% of the events' are here\n", text)
    assert "its columns are separated by ::" in text and "it is Latin-1, not UTF-8" in text
    assert 'genres = { kind = "list", separator = "|" }   # several values, parted by |' in text
    assert "# title: text, hardly a value of which comes twice" in text


@pytest.mark.parametrize("layout", ["retailrocket", "yoochoose", "steam", "ga4", "lastfm_hetrec"])
def test_the_line_that_answers_a_question_otherwise_is_a_config_as_well(tmp_path, monkeypatch, layout):
    found, _, text = written(tmp_path, monkeypatch, layout)
    answers = [answer for _, answer in questions(found) if answer.startswith("labels = ")]
    assert answers
    for answer in answers:
        Path("other.toml").write_text(text.replace("\n[split]", f"{answer}\n\n[split]"), encoding="utf-8")
        config = load_config(Path("other.toml"))
        prepare_data(Run(Path("other")), config.data, config.split, config.shop, 0, features=config.features)


def test_a_copy_holds_the_rows_of_its_table(tmp_path, monkeypatch):
    written(tmp_path, monkeypatch, "shopify")
    raw = duckdb.sql("SELECT * FROM read_csv('orders_export_1.csv', all_varchar = true)")
    copy = duckdb.sql("SELECT * FROM 'config_tables/events.parquet'")
    orders = {row[0] for row in raw.filter('Email IS NULL AND "Created at" IS NOT NULL').project("Name").fetchall()}
    guests = raw.filter(f"Name IN ({', '.join(repr(name) for name in orders)})").count("*").fetchall()[0][0]
    assert copy.count("*").fetchall()[0][0] == raw.count("*").fetchall()[0][0] - guests
    whole = duckdb.sql(
        'SELECT count(*) FROM copy JOIN (SELECT Name, any_value(Email) AS e, any_value("Created at") AS t FROM raw '
        "GROUP BY 1) AS o ON copy.Name = o.Name WHERE copy.Email = o.e "
        "AND copy.\"Created at\" = strptime(o.t, '%Y-%m-%d %H:%M:%S %z')::TIMESTAMP"
    )
    duckdb.sql("SET TimeZone = 'UTC'")
    assert whole.fetchall()[0][0] == copy.count("*").fetchall()[0][0]


def test_lines_of_orders_have_the_user_of_their_order(tmp_path, monkeypatch):
    written(tmp_path, monkeypatch, "instacart")
    odd = duckdb.sql(
        "SELECT count(*), count(*) FILTER (e.user_id <> o.user_id OR e.order_number <> o.order_number) "
        "FROM 'config_tables/events.parquet' AS e JOIN 'orders.csv' AS o USING (order_id)"
    ).fetchall()[0]
    lines = duckdb.sql("SELECT count(*) FROM read_csv('order_products__*.csv')").fetchall()[0][0]
    assert odd == (lines, 0)


@pytest.mark.parametrize("layout", ["yoochoose", "retailrocket", "instacart"])
def test_the_same_rows_in_another_order_give_the_same_bytes(tmp_path, monkeypatch, layout):
    """As those of several threads come: rows of one user, item and instant, values of one instant."""
    files = []
    for is_reversed in (False, True):
        folder = tmp_path / str(is_reversed)
        folder.mkdir()
        names = LAYOUTS[layout](folder)
        for path in folder.iterdir():
            rows = path.read_text().splitlines(keepends=True)
            header = [] if layout == "yoochoose" else [rows.pop(0)]
            if path.name == "yoochoose-clicks.dat":  # of the same click in another category
                rows += [row.rpartition(",")[0] + f",{9 - int(row[-2])}\n" for row in rows]
            if path.name.startswith("item_properties"):  # of the same instant another value
                rows += [row.rstrip() + "1\n" for row in rows if ",categoryid," in row]
            path.write_text("".join([*header, *(rows[::-1] if is_reversed else rows)]))
        monkeypatch.chdir(folder)
        text = page(find_out(names, Given(), Path("config_tables")), "config.toml", "cascade init TABLES")
        files.append((text, {path.name: path.read_bytes() for path in Path("config_tables").iterdir()}))
    assert files[0] == files[1]
    assert files[0][1]


@pytest.mark.parametrize("words", [("no", "Yes"), ("N", "Y"), ("f", "t")])
def test_yes_and_no_are_labels(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    rows = [f"u{k % 7},i{k % 5},{1_700_000_000 + k},{words[k % 3 == 0]}" for k in range(300)]
    Path("events.csv").write_text("\n".join(["user,item,timestamp,Purchased", *rows]) + "\n")
    found = find_out(["events.csv"], Given(), Path("config_tables"))
    assert found.labels.value == '["Purchased"]' and not found.left_context
    Path("config.toml").write_text(page(found, "config.toml", "cascade init events.csv"), encoding="utf-8")
    config = load_config(Path("config.toml"))
    prepare_data(Run(Path("run")), config.data, config.split, config.shop, 0, features=config.features)
    events = duckdb.sql("SELECT count(*), sum(CAST(Purchased AS INT)) FROM 'run/data/*/part_*.parquet'")
    assert events.fetchall() == [(300, 100)]


def test_of_a_large_table_some_users_tell_the_split(tmp_path, monkeypatch):
    rows = "i % 997 AS user_id, i * 7 % 60 AS item_id, 1700000000 + i * 60 AS timestamp, i * 7 % 60 AS price"
    path = str(tmp_path / "events.parquet")
    duckdb.sql(f"COPY (SELECT {rows} FROM range(40000) r(i)) TO '{path}' (FORMAT parquet)")
    whole = find_out([path], Given(), tmp_path / "tables")
    monkeypatch.setattr(profile, "WHOLE_BYTES", 0)
    monkeypatch.setattr(profile, "NUM_LOOKED", 20_000)
    monkeypatch.setattr(split, "NUM_READ", 5_000)
    found = find_out([path], Given(), tmp_path / "tables")
    assert not found.sketch.events.is_whole
    assert found.split.lines == whole.split.lines
    assert "100% of the test events are of users with events before" in found.split.why
    assert found.items and found.items.spec == str(tmp_path / "tables" / "items.parquet")
    prices = duckdb.sql(f"SELECT count(*), bool_and(item_id = price) FROM '{found.items.spec}'").fetchall()
    assert prices == [(60, True)]
