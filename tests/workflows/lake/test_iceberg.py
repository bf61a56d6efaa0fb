"""Iceberg tables: the rows that count in a snapshot, the same data/ as from Parquet, one sentence for what fails."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.workflows.lake.iceberg_table import add_deletes, create, deletes_of, folder_of, vector_of
from tests.workflows.lake.tables import ROWS, content, failure, from_parquet, prepare
from workflows.core.artefacts import read_manifest
from workflows.core.errors import DataError

pytestmark = pytest.mark.service("iceberg")


def write_events(root: Path, **properties: str) -> tuple[Any, list[int], str]:
    """All rows in two files; the table, its snapshots, and the file of the first hundred."""
    table = create(root, ROWS.schema, **properties)
    table.append(ROWS[:100])
    file = next(iter(table.scan().plan_files())).file.file_path
    table.append(ROWS[100:])
    return table, [snapshot.snapshot_id for snapshot in table.snapshots()], file


def test_the_rows_that_count_give_the_same_data_as_from_parquet(tmp_path: Path) -> None:
    table, (first, second), file = write_events(tmp_path / "lake")
    folder = str(folder_of(table))
    everything = prepare(tmp_path / "a", events=folder)
    assert content(everything) == from_parquet(tmp_path / "b", ROWS)
    assert not list(everything.glob(".data*"))
    assert read_manifest(everything / "data").info["table_versions"] == [f"{folder}@{second}"]
    assert content(prepare(tmp_path / "c", events=f"{folder}@{first}")) == from_parquet(tmp_path / "d", ROWS[:100])

    add_deletes(table, deletes_of(table, "deletes.parquet", file, [1, 3]))
    kept = ROWS.take([i for i in range(200) if i not in (1, 3)])
    assert content(prepare(tmp_path / "e", events=folder)) == from_parquet(tmp_path / "f", kept)
    add_deletes(table, vector_of(table, "deletes.puffin", file, [5, 1]))
    kept = ROWS.take([i for i in range(200) if i not in (1, 3, 5)])
    assert content(prepare(tmp_path / "g", events=folder)) == from_parquet(tmp_path / "h", kept)
    assert content(prepare(tmp_path / "i", events=f"{folder}@{second}")) == content(everything)


def test_deletes_by_value_are_refused(tmp_path: Path) -> None:
    table, (_, second), file = write_events(tmp_path / "lake")
    add_deletes(table, deletes_of(table, "equal.parquet", file, [1], equality_ids=[1]))
    folder = str(folder_of(table))
    said = failure(tmp_path / "run", events=folder)
    assert (
        f"events: {folder} cannot be read as a table in Iceberg format (PyIceberg does not yet support equality" in said
    )
    assert said.endswith("; write its current rows as plain Parquet files and set data.events to them")
    prepare(tmp_path / "run", events=f"{folder}@{second}")


def test_a_version_that_was_read_is_not_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, _, _ = write_events(tmp_path / "lake")
    prepare(tmp_path / "run", events=str(folder_of(table)))
    capsys.readouterr()
    prepare(tmp_path / "run", events=str(folder_of(table)))
    assert "data: up to date" in capsys.readouterr().err
    table.delete("note = '7'")
    prepare(tmp_path / "run", events=str(folder_of(table)))
    assert (
        f"data: events: 199 rows of {folder_of(table)}@{table.current_snapshot().snapshot_id}"
        in capsys.readouterr().err
    )


def test_a_column_renamed_since_is_one_sentence(tmp_path: Path) -> None:
    table, (_, second), _ = write_events(tmp_path / "lake")
    folder = str(folder_of(table))
    prepare(tmp_path / "run", events=folder)
    before = content(tmp_path / "run")
    with table.update_schema() as update:
        update.rename_column("click", "clicked")
    with pytest.raises(DataError, match=r"expected a column 'click' \(data\.labels\), got the columns"):
        prepare(tmp_path / "run", events=folder)
    assert content(tmp_path / "run") == before
    renamed = ROWS.rename_columns([{"click": "clicked"}.get(name, name) for name in ROWS.schema.names])
    data = {"labels": ["clicked"]}
    assert content(prepare(tmp_path / "b", events=folder, **data)) == from_parquet(tmp_path / "c", renamed, **data)
    assert content(prepare(tmp_path / "d", events=f"{folder}@{second}")) == before


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    empty = create(tmp_path / "empty", ROWS.schema)
    run = tmp_path / "run"
    assert "expected at least one row, got none in" in failure(run, events=str(folder_of(empty)))
    table, (first, second), file = write_events(tmp_path / "lake")
    folder = folder_of(table)
    assert f"{folder} has the snapshots {first}, {second}, got @7; correct data.events" in failure(
        run, events=f"{folder}@7"
    )
    newest = max((folder / "metadata").glob("*.metadata.json"))
    shutil.copy(newest, other := newest.with_name(f"{newest.name[:6]}lost.metadata.json"))
    assert "of which only the table's catalogue knows the right one" in failure(run, events=str(folder))
    other.unlink()
    Path(file.removeprefix("file://")).unlink()
    assert f"events: {folder} cannot be read as a table in Iceberg format (" in failure(run, events=str(folder))
    newest.write_text("{")
    assert "set data.events to them" in failure(run, events=str(folder))
