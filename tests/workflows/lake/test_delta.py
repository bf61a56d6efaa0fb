"""Delta tables: the rows that count at a version, the same data/ as from plain Parquet, one sentence for what fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.workflows.lake.delta_log import add, begin, commit, remove
from tests.workflows.lake.tables import ITEMS, ROWS, content, failure, from_parquet, prepare
from workflows.core.artefacts import read_manifest
from workflows.core.errors import DataError
from workflows.tables.find import find

pytestmark = pytest.mark.service("delta")


def write_events(folder: Path) -> list[dict[str, Any]]:
    """Version 0: rows 0 to 99, and 150 to 199; version 1: the rest, without rows 1, 3 and 5. The files of version 1."""
    files = [add(folder, f"{start}.parquet", ROWS[start : start + 50]) for start in (0, 50, 150)]
    commit(folder, 0, *begin(ROWS.schema, deletes=True), *files)
    fewer, more = add(folder, "0.parquet", ROWS[:50], [1, 3, 5]), add(folder, "b/100.parquet", ROWS[100:150])
    commit(folder, 1, remove(files[0]), fewer, more)
    return [fewer, more, *files[1:]]


def test_the_rows_that_count_give_the_same_data_as_from_parquet(tmp_path: Path) -> None:
    folder = str(tmp_path / "lake" / "events")
    write_events(Path(folder))
    kept = ROWS.take([i for i in range(200) if i not in (1, 3, 5)])
    root = prepare(tmp_path / "a", events=folder)
    assert content(root) == from_parquet(tmp_path / "b", kept)
    assert not list(root.glob(".data*"))
    assert read_manifest(root / "data").info["table_versions"] == [f"{folder}@1"]
    first = pa.concat_tables([ROWS[:100], ROWS[150:]])
    assert content(prepare(tmp_path / "c", events=f"{folder}@0")) == from_parquet(tmp_path / "d", first)
    assert content(prepare(tmp_path / "e", events=f"{folder}@1")) == content(root)


def test_a_version_that_was_read_is_not_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "events"
    files = write_events(folder)
    prepare(tmp_path / "run", events=str(folder))
    before = content(tmp_path / "run")
    capsys.readouterr()
    prepare(tmp_path / "run", events=str(folder))
    assert "data: up to date" in capsys.readouterr().err
    commit(folder, 2, remove(files[2]))
    prepare(tmp_path / "run", events=str(folder))
    said = capsys.readouterr().err
    assert f"data: events: 147 rows of {folder}@2 read in" in said
    assert content(tmp_path / "run") != before


def test_partitions_and_renamed_columns_are_read(tmp_path: Path) -> None:
    names = {name: f"col-{number}" for number, name in enumerate(ROWS.schema.names)}
    folder, files = tmp_path / "events", []
    for device in ("web", None):
        chosen = ROWS.take([i for i, found in enumerate(ROWS["device"].to_pylist()) if found == device])
        rows = chosen.drop_columns(["device"]).rename_columns([names[n] for n in chosen.schema.names if n != "device"])
        files.append(add(folder, f"{names['device']}={device}/a.parquet", rows, **{names["device"]: device}))
    commit(folder, 0, *begin(ROWS.schema, partitions=["device"], renamed=names), *files)
    assert content(prepare(tmp_path / "a", events=str(folder))) == from_parquet(tmp_path / "b", ROWS)


def test_items_are_read_whole_and_may_stand_beside_files(tmp_path: Path) -> None:
    commit(tmp_path / "items", 0, *begin(ITEMS.schema), add(tmp_path / "items", "a.parquet", ITEMS))
    pq.write_table(ITEMS, tmp_path / "items.parquet")
    pq.write_table(ROWS.drop_columns(["shelf"]), tmp_path / "events.parquet")
    data = {"events": str(tmp_path / "events.parquet"), "context": ["device"]}
    lake = prepare(tmp_path / "a", items=str(tmp_path / "items"), **data)
    assert content(lake) == content(prepare(tmp_path / "b", items=str(tmp_path / "items.parquet"), **data))
    assert (lake / "data" / "items.parquet").exists()
    assert "Brand" in pq.read_schema(lake / "data" / "items.parquet").names


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    folder, run = tmp_path / "events", tmp_path / "run"
    files = write_events(folder)
    assert f"{folder} has versions up to 1, got @7; correct data.events" in failure(run, events=f"{folder}@7")
    assert "expected a column 'when' (data.timestamp), got the columns" in failure(
        run, events=str(folder), timestamp="when"
    )
    pq.write_table(ROWS, tmp_path / "more.parquet")
    both = failure(run, events=[str(folder), str(tmp_path / "more.parquet")])
    assert "expected tables of one format, got a table in Delta format and files in" in both
    assert f"{folder} is named twice" in failure(run, events=[str(folder), f"{folder}/"])
    (folder / "50.parquet").unlink()
    assert f"events: {folder} cannot be read as a table in Delta format (" in failure(run, events=str(folder))
    commit(folder, 2, *map(remove, files))
    assert f"events: expected at least one row, got none in {folder}@2" in failure(run, events=str(folder))
    (folder / "_delta_log" / f"{0:020}.json").write_text("{")
    assert "; write its current rows as plain Parquet files and set data.events to them" in failure(
        run, events=str(folder)
    )


def test_a_part_of_a_table_is_refused_with_the_way_to_the_whole(tmp_path: Path) -> None:
    folder = tmp_path / "events"
    write_events(folder)
    for spec in (folder / "b", folder / "*.parquet", tmp_path):
        with pytest.raises(
            DataError, match=rf"{folder} is a table in Delta format.*; set data\.events to {folder} itself"
        ):
            find("events", str(spec))


@pytest.mark.parametrize("feature", ["typeWidening", "catalogManaged", "someLaterFeature"])
def test_a_table_that_needs_what_the_package_does_not_know_is_refused(tmp_path: Path, feature: str) -> None:
    actions = begin(ROWS.schema)
    actions[0]["protocol"].update(readerFeatures=[feature], writerFeatures=[feature])
    commit(tmp_path / "events", 0, *actions, add(tmp_path / "events", "a.parquet", ROWS))
    said = failure(tmp_path / "run", events=str(tmp_path / "events"))
    assert "cannot be read as a table in Delta format (" in said


def test_a_column_renamed_since_is_one_sentence(tmp_path: Path) -> None:
    folder, names = tmp_path / "events", {name: name for name in ROWS.schema.names}
    commit(folder, 0, *begin(ROWS.schema, renamed=names), add(folder, "a.parquet", ROWS))
    prepare(tmp_path / "run", events=str(folder))
    before = content(tmp_path / "run")
    renamed = ROWS.rename_columns([{"click": "clicked"}.get(name, name) for name in names])
    commit(folder, 1, begin(renamed.schema, renamed={{"click": "clicked"}.get(name, name): name for name in names})[1])
    with pytest.raises(DataError, match=r"expected a column 'click' \(data\.labels\), got the columns"):
        prepare(tmp_path / "run", events=str(folder))
    assert content(tmp_path / "run") == before
    data = {"labels": ["clicked"]}
    assert content(prepare(tmp_path / "b", events=str(folder), **data)) == from_parquet(tmp_path / "c", renamed, **data)


def test_null_ids_are_one_sentence(tmp_path: Path) -> None:
    rows = ROWS.set_column(0, "user_id", pa.array([None, *ROWS["user_id"].to_pylist()[1:]], pa.int64()))
    commit(tmp_path / "events", 0, *begin(ROWS.schema), add(tmp_path / "events", "a.parquet", rows))
    assert "user_id" in (said := failure(tmp_path / "run", events=str(tmp_path / "events")))
    pq.write_table(rows, tmp_path / "events.parquet")
    assert said == failure(tmp_path / "run", events=str(tmp_path / "events.parquet"))
