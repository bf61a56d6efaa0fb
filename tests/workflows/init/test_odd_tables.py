"""Tables of a shop that calls and writes everything in its own way."""

from __future__ import annotations

import random
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from ensemble.config_file import load_config
from workflows.core.run import Run
from workflows.init.find import find_out
from workflows.init.page import Findings, page, questions
from workflows.init.roles import Given
from workflows.init.told import told
from workflows.tables.stage import prepare_data

ITEMS = [(f"{k * 7:06}", f"Volume {k}", ("crime", "poetry")[k % 2], f"{5 + k % 40},{k % 100:02}") for k in range(1, 61)]
USERS = [(f"{k:05}", ("10115", "01067")[k % 2]) for k in range(1, 121)]


def write(name: str, columns: str, rows: list[tuple[str, ...]]) -> str:
    Path(name).write_text("\n".join([columns, *map(";".join, rows)]) + "\n", encoding="utf-8")
    return name


def shop(when: str = "%d/%m/%Y") -> list[str]:
    draw = random.Random(11)
    days = sorted(draw.randrange(180) for _ in range(1500))
    rows = [
        (
            draw.choice(USERS)[0],
            draw.choice(ITEMS)[0],
            (date(2026, 3, 1) + timedelta(days=day)).strftime(when),
            draw.choice(["click", "click", "purchase"]),
            draw.choice(["App", "Web"]),
        )
        for day in days
    ]
    return [
        write("sales 2026.csv", "Cust. No.;Book ref;When;What happened;Via", rows),
        write("books.csv", "Ref;Title;Genre;Price (EUR)", ITEMS),
        write("clients.csv", "No.;Postcode", USERS),
    ]


def found_in(tables: list[str], given: Given | None = None) -> tuple[Findings, str]:
    found = find_out(tables, given or Given(), Path("config_tables"))
    text = page(found, "config.toml", "cascade init")
    Path("config.toml").write_text(text, encoding="utf-8")
    return found, text


@pytest.mark.parametrize("when", ["%d/%m/%Y", "%m/%d/%Y", "%d/%m/%Y 09:30"])
def test_days_first_odd_names_and_decimal_commas_become_a_config_that_is_prepared(tmp_path, monkeypatch, when):
    monkeypatch.chdir(tmp_path)
    found, text = found_in(shop(when))
    sketch = found.sketch
    assert (sketch.user, sketch.item, sketch.time) == ("Cust. No.", "Book ref", "When")
    assert sketch.items and (sketch.items.table.name, sketch.items.key, sketch.items.share) == ("books.csv", "Ref", 1.0)
    assert sketch.users and (sketch.users.table.name, sketch.users.key, sketch.users.share) == (
        "clients.csv",
        "No.",
        1.0,
    )
    assert '"Price (EUR)" = { kind = "continuous" }' in text and not sketch.unused
    assert "its 'Price (EUR)' are written with a decimal comma; its ids are called 'Ref', and 'Book ref' in" in text
    assert dict(duckdb.sql('SELECT "Book ref", "Price (EUR)" FROM \'config_tables/items.parquet\'').fetchall()) == {
        ref: float(price.replace(",", ".")) for ref, _, _, price in ITEMS
    }
    config = load_config(Path("config.toml"))
    done = prepare_data(Run(Path("run")), config.data, config.split, config.shop, 0, features=config.features)
    assert done.info["num_users"] == 120 and done.info["num_items"] == 60


def test_the_column_of_the_ids_is_found_by_its_values(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tables = [*shop()[:1], write("b2.csv", "X;Title", [row[:2] for row in ITEMS]), write("c2.csv", "Y;Z", USERS)]
    found, _ = found_in(tables)
    assert found.sketch.items and (found.sketch.items.table.name, found.sketch.items.key) == ("b2.csv", "X")
    assert found.sketch.users and (found.sketch.users.table.name, found.sketch.users.key) == ("c2.csv", "Y")


def test_one_item_that_comes_twice_does_not_lose_the_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    twice = [*(row[:2] for row in ITEMS), (ITEMS[0][0], "Volume 1, revised")]
    found, text = found_in([*shop()[:1], write("b2.csv", "Book ref;Title", twice)])
    assert found.items and found.items.num_left_out == 1
    assert "it has several rows of an id, of which the last is kept. 1 row less." in text


def test_a_table_that_is_not_used_comes_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    others = [write("notes.csv", "Word;Weight", [(f"w{k}", str(k)) for k in range(50)])]
    many = [(ref, tag) for ref, *_ in ITEMS for tag in ("a", "b", "c")]
    others.append(write("shelves.csv", "Book ref;Shelf", many))
    found, text = found_in([*shop(), *others])
    assert found.sketch.unused == {
        "notes.csv": "no column of it holds the ids of 'Cust. No.' or 'Book ref'",
        "shelves.csv": "'Book ref' holds 100% of the ids of 'Book ref', in several rows each",
    }
    for name, why in found.sketch.unused.items():
        assert f"# Not used: {name}: {why}.\n" in text and f"not used: {name}: {why}" in told(found)


def test_what_happened_is_told_by_the_values_of_a_column_of_any_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, text = found_in(shop())
    assert found.labels.columns == ["What happened"] and found.left_context == ["Via"]
    answers = dict(questions(found))
    assert answers["is 'purchase' what slates are to earn? It is then the first label."] == (
        "labels = { purchase = \"What happened == 'purchase'\", click = \"What happened == 'click'\" }"
        '   # and in a section [ranking]: training_examples = "sampled"'
    )
    assert "# every event is a positive, whatever 'What happened' is: click (" in text


def test_the_answer_on_context_makes_a_column_one_that_a_request_carries(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, text = found_in(shop())
    answer = dict(questions(found))[
        "does a request know these columns before the slate is made? Then the models can read them."
    ]
    in_data, _, features = answer.partition(", and in a section [features.context]: ")
    Path("other.toml").write_text(
        text.replace("\n[split]", f"{in_data}\n\n[split]") + f"\n[features.context]\n{features}\n", encoding="utf-8"
    )
    config = load_config(Path("other.toml"))
    assert config.data.context == ["Via"] and list(config.features.context) == ["Via"]


def test_lists_of_codes_are_no_numbers_with_a_decimal_comma(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [(ref, ("3,7", "1,3,5", "7")[k % 3], ("4,5", "12,25")[k % 2]) for k, (ref, *_) in enumerate(ITEMS)]
    found, _ = found_in([*shop()[:1], write("b2.csv", "Book ref;Shelves;Mixed", rows)])
    assert 'kind = "list"' in found.of_items["Shelves"].toml and 'kind = "list"' in found.of_items["Mixed"].toml


@pytest.mark.parametrize(
    "when",
    [
        *("%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d/%m/%y 10:15", "%b %d %Y", "%d.%m.%Y"),
        *("%y-%m-%d", "%y/%m/%d", "%y.%m.%d 10:15", "%d-%m-%y"),  # 26-03-01 is not the 26th of March 2001
    ],
)
def test_dates_of_many_forms_are_read_as_the_same_days(tmp_path, monkeypatch, when):
    monkeypatch.chdir(tmp_path)
    found, text = found_in(shop(when))
    assert found.sketch.time == "When" and "# 'When' goes from 2026-03-01" in text
    config = load_config(Path("config.toml"))
    prepare_data(Run(Path("run")), config.data, config.split, config.shop, 0, features=config.features)
    days = 'make_timestamp_ns("at")::DATE::VARCHAR'
    [(first, last)] = duckdb.sql(f"SELECT min({days}), max({days}) FROM 'run/data/*/*.parquet'").fetchall()
    assert (first, last) == ("2026-03-01", "2026-08-27")


def test_dates_of_which_no_row_tells_the_month_are_asked_for_and_never_context(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, _ = found_in(shop("0%w/03/26"))
    assert found.sketch.time is None and "When" not in found.left_context
    [(question, _)] = [doubt for doubt in found.sketch.doubts if "When" in doubt[0]]
    assert question.startswith("is 'When' the time? its values, such as '0")
    assert "', cannot be read: write them as 2024-01-31" in question


def test_signs_of_windows_stay_signs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tables = shop()
    titles = [f"{ref};“Größe” {k} €;crime;1,00" for k, (ref, *_) in enumerate(ITEMS)]
    Path("books.csv").write_bytes("\r\n".join(["Ref;Title;Genre;Price (EUR)", *titles]).encode("windows-1252"))
    found_in(tables)
    [(title,)] = duckdb.sql("SELECT Title FROM 'config_tables/items.parquet' ORDER BY 1 LIMIT 1").fetchall()
    assert title == "“Größe” 0 €"


def test_what_pandas_writes_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    days = [date(2026, 3, 1) + timedelta(days=k % 180) for k in range(900)]
    rows = [(f"{k}", f"{k % 37}.0", f"{k % 29}", f"{day}") for k, day in enumerate(sorted(days))]
    tables = [write("visits.csv", ";user_id;item_id;day", rows)]
    tables.append(write("users.csv", ";id;city", [(f"{k}", f"{k}", ("Rome", "Oslo")[k % 2]) for k in range(37)]))
    found, text = found_in(tables)
    assert found.sketch.users and found.sketch.users.share == 1.0
    assert "# Written as Parquet, since its 'user_id' are written as 17.0.\n" in text
    assert duckdb.sql("SELECT DISTINCT typeof(user_id) FROM 'config_tables/events.parquet'").fetchall() == [("BIGINT",)]
    config = load_config(Path("config.toml"))
    done = prepare_data(Run(Path("run")), config.data, config.split, config.shop, 0, features=config.features)
    assert done.info["num_users"] == 37 and done.info["id_type"]["user"] == "int64"


def test_users_with_another_spelling_of_their_ids_are_said_to_have_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    people = write("people.csv", "No.;City", [(no.lstrip("0"), f"c{int(no) % 3}") for no, _ in USERS])
    found, _ = found_in([*shop()[:2], people])
    assert found.sketch.unused == {
        "people.csv": "'No.' differs from 'Cust. No.' in leading zeros, blanks or '.0' alone: write the ids alike"
    }


@pytest.mark.parametrize("values", [("0", "1"), ("ja", "nein"), ("true", "false"), ("no", "yes")])
def test_a_flag_of_an_unknown_name_is_asked_for(tmp_path, monkeypatch, values):
    monkeypatch.chdir(tmp_path)
    rows = [(f"u{k % 37}", f"i{k % 29}", f"2026-03-{1 + k // 40:02}", values[k % 3 == 0]) for k in range(900)]
    found, text = found_in([write("visits.csv", "user;item;day;Kauf", rows)])
    asked = [answer for question, answer in questions(found) if question.startswith("does 'Kauf' say whether an event")]
    assert asked == ([] if "ja" in values else ['labels = ["Kauf"]'])
    assert ("Kauf" in found.left_context) is ("ja" in values)
    for answer in asked:
        Path("other.toml").write_text(text.replace("\n[split]", f"{answer}\n\n[split]"))
        config = load_config(Path("other.toml"))
        done = prepare_data(Run(Path("run")), config.data, config.split, config.shop, 0, features=config.features)
        assert done.info["labels"] == ["Kauf"]


def test_a_folder_is_looked_at_again_beside_what_was_made_of_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shop()
    first, text = found_in(["."])
    for made in ("runs/shop/data/manifest.json", "repo/cascade/config.pbtxt", "log/salt", "mon/status.json"):
        Path(made).parent.mkdir(parents=True)
        Path(made).write_text("{}")
    for folder in ("log/ready", "mon/requests"):
        Path(folder).mkdir()
    for place in ("runs/shop/data", "repo", "log/ready", "mon/requests"):
        (Path(place) / "events.csv").write_text("user_id,item_id,timestamp\n1,2,1700000000\n")
    capsys.readouterr()
    again, same = found_in(["."])
    assert same == text and again.sketch.unused == {} and first.sketch.events.name == "sales 2026.csv"
    said = capsys.readouterr().err
    for folder, what in {
        "config_tables": "the copies of config.toml",
        "runs/shop": "a run of Cascade",
        "repo": "a model repository",
        "log": "logged requests",
        "mon": "logged requests",
    }.items():
        assert f"init: {folder} is left out: {what}" in said


def test_two_digits_of_one_day_tell_neither_year_nor_day_and_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, _ = found_in(shop("26-03-24"))
    assert found.sketch.time is None
    assert any(
        "'26-03-24', cannot be read: write them as 2024-01-31" in question for question, _ in found.sketch.doubts
    )


def test_a_json_table_of_numbers_and_structs_alone_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw = random.Random(3)
    rows = [
        f'{{"user": {{"id": {draw.randrange(30)}}}, "item": {{"id": {draw.randrange(20)}, "tags": ["a"]}}, "n": {k}}}'
        for k in range(300)
    ]
    Path("events.jsonl").write_text("\n".join(rows), encoding="utf-8")
    found, _ = found_in(["events.jsonl"])
    assert (found.sketch.user, found.sketch.item) == ("user_id", "item_id")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_texts_of_several_lines_are_read(tmp_path, monkeypatch, end):
    monkeypatch.chdir(tmp_path)
    tables = shop()
    titles = [f'{ref};"Volume, ""{k}""{end}new";crime;1,00' for k, (ref, *_) in enumerate(ITEMS)]
    Path("books.csv").write_bytes(end.join(["Ref;Title;Genre;Price (EUR)", *titles]).encode())
    found, _ = found_in(tables)
    assert found.sketch.items and found.sketch.items.share == 1.0
    [(title,)] = duckdb.sql("SELECT Title FROM 'config_tables/items.parquet' ORDER BY 1 LIMIT 1").fetchall()
    assert title == f'Volume, "0"{end}new'
