"""Which files a path means: hidden ones, links, tables of other formats, and names that look like globs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import fsspec
import pandas as pd
import pytest

from workflows.core import console
from workflows.core.errors import DataError
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.find import find
from workflows.tables.lake.kinds import READ
from workflows.tables.load import find_inputs
from workflows.tables.source import Relation, open_source, unreadable

ODD_NAMES = [
    "events[1].csv",
    "a*b.csv",
    "a?b.csv",
    "[!e].csv",
    "q'uo\"te.csv",
    "ü ñ 日.csv",
    "~t.csv",
    "{a,b}.csv",
    "c%20d#e&f.csv",
]


def write(root: Path, *files: str) -> None:
    """One row a file: its place in the order of the arguments."""
    for value, file in enumerate(files):
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.endswith(".parquet"):
            pd.DataFrame({"x": [value]}).to_parquet(path)
        else:
            path.write_text(f"x\n{value}\n")


def found(root: Path, *specs: str) -> list[str]:
    """The files below `root` that the specs name."""
    return [str(Path(file).relative_to(root)) for file in find("events", [f"{root}/{spec}" for spec in specs]).files]


def rows(*specs: str) -> list[int]:
    """What DuckDB reads of the files that the specs name."""
    con = duckdb.connect()
    relation = open_source(con, find("events", specs), ["x"])
    return [row[0] for row in con.execute(f"SELECT x::INT FROM {relation.sql}").fetchall()]


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    system = fsspec.filesystem("memory")
    yield system
    if system.exists("/found"):
        system.rm("/found", recursive=True)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(console, "say", lines.append)
    return lines


HIDDEN = ("e/.ipynb_checkpoints/a-checkpoint.csv", "e/_temporary/0/part.csv", "e/d/.git/x/y.csv", "e/.a.csv.swp")


@pytest.mark.parametrize("spec", ["e", "e/", "e/*", "e/**/*.csv", "e/**", "*/*.csv", "**/a.csv"])
def test_hidden_files_and_folders_are_left_out_aloud(tmp_path, said, spec):
    write(tmp_path, "e/a.csv", "e/_year=2024/b.csv", "e/d/c.csv", *HIDDEN, "e/_b.csv", "e/d/_SUCCESS")
    everything = ["e/_year=2024/b.csv", "e/a.csv", "e/d/c.csv"]
    assert found(tmp_path, spec) == {"*/*.csv": ["e/a.csv"], "**/a.csv": ["e/a.csv"]}.get(spec, everything)
    assert len(said) == 1
    assert "events: left out" in said[0]
    assert "hidden" in said[0]
    assert "_SUCCESS" not in said[0]
    if spec == "e":
        assert said == [
            f"data: events: left out 4 that are hidden ({tmp_path}/e/.ipynb_checkpoints/, {tmp_path}/e/_b.csv, "
            f"{tmp_path}/e/_temporary/, ...)"
        ]


def test_what_is_hidden_is_read_where_it_is_named(tmp_path, said):
    write(tmp_path, "e/a.csv", "e/_old/b.csv", "e/.c/d.csv", "e/x/_old/e.csv")
    assert found(tmp_path, "e/_old") == ["e/_old/b.csv"]
    assert found(tmp_path, "e/.c/d.csv") == ["e/.c/d.csv"]
    assert found(tmp_path, "e/_o*/*.csv") == ["e/_old/b.csv"]
    assert found(tmp_path, "e/**/_old/*.csv") == ["e/_old/b.csv", "e/x/_old/e.csv"]
    assert found(tmp_path / "e" / "_old", "*.csv") == ["b.csv"]


def test_files_of_no_table_format_are_left_out_aloud(tmp_path, said):
    write(tmp_path, "e/a.csv", "e/README", "e/b.json", "e/.part-0.parquet.crc")
    assert found(tmp_path, "e") == ["e/a.csv"]
    assert said == [
        f"data: events: left out 2 that are neither Parquet nor CSV ({tmp_path}/e/README, {tmp_path}/e/b.json)"
    ]


def test_a_folder_of_nothing_but_hidden_files_holds_none(tmp_path):
    write(tmp_path, "e/_temporary/0/part.csv")
    with pytest.raises(DataError, match=r"expected Parquet or CSV files in .*/e, got none; correct data\.events"):
        found(tmp_path, "e")


TABLES = {
    "Delta": "_delta_log/00000000000000000000.json",
    "Hudi": ".hoodie/hoodie.properties",
    "Iceberg": "metadata/v3.metadata.json",
}


@pytest.mark.parametrize(("format", "entry"), TABLES.items())
@pytest.mark.parametrize("spec", ["t", "t/**/*.parquet", "*/data/*.parquet", "t/data", "t/data/*.parquet", ""])
def test_a_folder_of_another_table_format_is_refused(tmp_path, memory, format, entry, spec):
    write(tmp_path, f"t/{entry}", "t/data/day=1/a.parquet", "t/data/b.parquet", "plain/a.parquet")
    memory.put(str(tmp_path), "/found", recursive=True)
    # A folder here that is itself one of the tables that are read: tests/workflows/lake.
    here = [] if spec == "t" and format in READ else [str(tmp_path)]
    for root in (*here, "memory://found"):
        with pytest.raises(DataError, match=rf"events: {root}/t is a table in {format} format.* set data\.events"):
            find("events", f"{root}/{spec}")
    assert found(tmp_path, "t/data/b.parquet") == ["t/data/b.parquet"]  # whoever names a file has chosen it


def test_a_folder_called_metadata_is_no_iceberg_table(tmp_path):
    write(tmp_path, "e/a.csv", "e/metadata/columns.metadata.json", "e/metadata/b.csv", "metadata/v1.metadata.json")
    assert found(tmp_path, "e") == ["e/a.csv", "e/metadata/b.csv"]


def test_hudi_is_known_by_its_partitions_too(tmp_path):
    write(tmp_path, "e/day=1/.hoodie_partition_metadata", "e/day=1/a.parquet")
    with pytest.raises(DataError, match="e/day=1 is a table in Hudi format"):
        found(tmp_path, "e")


@pytest.mark.parametrize("spec", ["e", "e/*", "e/*/*.csv", "e/**/*.csv", "e/2"])
def test_links_to_folders_and_files_are_followed(tmp_path, spec):
    write(tmp_path, "e/1/a.csv", "elsewhere/b.csv", "elsewhere/deep/c.csv", "other.csv")
    (tmp_path / "e" / "2").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "e" / "1" / "z.csv").symlink_to("../../other.csv")
    linked = ["e/2/b.csv", "e/2/deep/c.csv"]
    expected = {"e/*/*.csv": ["e/1/a.csv", "e/1/z.csv", "e/2/b.csv"], "e/2": linked}
    assert found(tmp_path, spec) == expected.get(spec, ["e/1/a.csv", "e/1/z.csv", *linked])


@pytest.mark.parametrize("spec", ["e", "e/**/*.csv", "e/*"])
@pytest.mark.parametrize("target", [".", "..", "../../e"])
def test_a_circle_of_links_is_refused(tmp_path, spec, target):
    write(tmp_path, "e/d/a.csv")
    (tmp_path / "e" / "d" / "loop").symlink_to(target)
    with pytest.raises(DataError, match=r"e/d/loop.* is a symbolic link back to .*, which holds it.*; remove the link"):
        found(tmp_path, spec)


@pytest.mark.parametrize("name", ["me", "me.csv", "a"])
@pytest.mark.parametrize("spec", ["e", "e/*", "e/**", "e/{name}"])
def test_a_link_to_itself_is_named(tmp_path, spec, name):
    write(tmp_path, "e/x.csv")
    (tmp_path / "e" / "a").symlink_to("b")
    (tmp_path / "e" / "b").symlink_to("a")
    if name != "a":
        (tmp_path / "e" / "a").unlink()
        (tmp_path / "e" / "b").unlink()
        (tmp_path / "e" / name).symlink_to(name)
    with pytest.raises(DataError, match=rf"e/{name} is a symbolic link to .*, which leads back to it; remove the link"):
        found(tmp_path, spec.format(name=name))


def test_a_hidden_link_to_itself_is_not_looked_at(tmp_path):
    write(tmp_path, "e/x.csv")
    (tmp_path / "e" / "_me").symlink_to("_me")
    assert found(tmp_path, "e") == ["e/x.csv"]


@pytest.mark.parametrize("spec", ["e", "e/*.csv", "e/**/*.csv"])
def test_a_link_to_nothing_is_refused(tmp_path, spec):
    write(tmp_path, "e/a.csv")
    (tmp_path / "e" / "b.csv").symlink_to("gone.csv")
    with pytest.raises(DataError, match=r"e/b\.csv is a symbolic link to gone\.csv, which is not there; .* remove"):
        found(tmp_path, spec)


@pytest.mark.parametrize("link", ["symbolic", "hard", "folder"])
def test_a_file_under_two_names_is_refused(tmp_path, link):
    write(tmp_path, "e/d/a.csv")
    if link == "folder":
        (tmp_path / "e" / "z").symlink_to("d")
    elif link == "hard":
        os.link(tmp_path / "e/d/a.csv", tmp_path / "e/d/b.csv")
    else:
        (tmp_path / "e/d/b.csv").symlink_to("a.csv")
    with pytest.raises(DataError, match=r"e/(d/b|z/a)\.csv and .*e/d/a\.csv are one and the same file, .* twice"):
        found(tmp_path, "e")


def test_a_file_that_is_named_twice_is_refused(tmp_path):
    write(tmp_path, "e/a.csv", "e/b.csv")
    for specs in (("e/a.csv", "e/a.csv"), ("e", "e/a.csv"), ("e/*.csv", "e/b*")):
        with pytest.raises(DataError, match=r"events: .*\.csv is named twice, so its rows would be read twice"):
            found(tmp_path, *specs)
    with pytest.raises(DataError, match="one and the same file"):
        found(tmp_path, "e/a.csv", "e/../e/a.csv")


def test_two_splits_share_no_file(tmp_path):
    write(tmp_path, "e/a.csv", "e/b.csv")
    split = SplitConfig(by="files", train=f"{tmp_path}/e", test=f"{tmp_path}/e/b.csv")
    with pytest.raises(DataError, match=r"split\.test: .*/b\.csv is named in split\.train and in split\.test, so"):
        find_inputs(DataConfig(), split)


@pytest.mark.parametrize("end", ["", ".parquet"])
def test_names_are_taken_as_they_are_written(tmp_path, monkeypatch, memory, end):
    names = [name + end for name in (*ODD_NAMES, "events1.csv", "axb.csv", "e.csv")]
    write(tmp_path / "all [x]", *names)
    memory.put(str(tmp_path), "/found", recursive=True)
    monkeypatch.chdir(tmp_path / "all [x]")
    for value, name in enumerate(names):
        for root in (f"{tmp_path}/all [x]/", "", "memory://found/all [x]/"):
            assert rows(root + name) == [value], root + name
    for spec in (f"{tmp_path}/all [x]", f"{tmp_path}/all [x]/*", "memory://found/all [x]"):
        assert sorted(rows(spec)) == list(range(len(names)))


def test_a_folder_that_looks_like_a_glob_is_taken_as_it_is_written(tmp_path, memory):
    write(tmp_path, "d[1]/e*f/a.csv", "d1/exf/a.csv")
    memory.put(str(tmp_path), "/found", recursive=True)
    for root in (str(tmp_path), "memory://found"):
        for spec in ("d[1]", "d[1]/e*f", "d[1]/e*f/*.csv", "d[1]/*/a.csv", "d[1]/**/*.csv"):
            assert rows(f"{root}/{spec}") == [0]
        assert rows(f"{root}/d[0-9]/*/a.csv") == [1]
        assert sorted(rows(f"{root}/d*")) == [0, 1]


def test_the_file_that_cannot_be_read_is_named_though_it_looks_like_a_glob(tmp_path):
    write(tmp_path, "a1.parquet", "a[1].parquet")
    (tmp_path / "a[1].parquet").write_bytes(b"no Parquet")
    source = find("events", [f"{tmp_path}/a1.parquet", f"{tmp_path}/a[1].parquet"])
    message = str(unreadable(duckdb.connect(), Relation(source, ""), ValueError("bad")))
    assert message.startswith(f"events: {tmp_path}/a[1].parquet cannot be read as Parquet")


def test_hidden_files_behind_a_url_are_left_out(tmp_path, memory, said):
    write(tmp_path, "e/a.csv", "e/_year=2024/b.csv", "e/d/c.csv", *HIDDEN, "e/_b.csv", "e/d/_SUCCESS")
    memory.put(str(tmp_path), "/found", recursive=True)
    root = "memory://found/e"
    everything = [f"{root}/_year=2024/b.csv", f"{root}/a.csv", f"{root}/d/c.csv"]
    for spec in (root, f"{root}/", f"{root}/*", f"{root}/**/*.csv", f"{root}/**", "memory://found/*"):
        assert find("events", spec).files == everything
    assert find("events", f"{root}/*.csv").files == [f"{root}/a.csv"]
    assert find("events", f"{root}/_t*/**/*.csv").files == [f"{root}/_temporary/0/part.csv"]
    assert all("hidden" in line for line in said)
    assert len(said) >= 6


def test_partitions_keep_the_zeros_of_their_values(tmp_path):
    write(tmp_path, "e/item=001/a.parquet", "e/item=2[x]/a.parquet")
    con = duckdb.connect()
    read = con.execute(
        f"SELECT x, item FROM {open_source(con, find('events', f'{tmp_path}/e'), ['x']).sql} ORDER BY x"
    ).fetchall()
    assert read == [(0, "001"), (1, "2[x]")]
