"""`cascade init` as a user types it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from ensemble.config_file import load_config
from scripts.cli import app
from tests.small_disk import small_disk
from tests.workflows.init.layouts import LAYOUTS

ROOT = Path(__file__).parents[2]


def typed(*arguments: str) -> int:
    """The status of a command."""
    command = typer.main.get_command(app)
    with pytest.raises(SystemExit) as end:
        command(["init", *arguments])
    return int(end.value.code or 0)


def test_it_writes_a_config_and_says_what_was_found_and_what_comes_next(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    LAYOUTS["movielens_csv"](tmp_path)
    assert typed("ratings.csv", "movies.csv", "links.csv", "--out", "configs/ml.toml") == 0
    said = capsys.readouterr().err
    assert "init: events: ratings.csv, 900 rows: user 'userId', item 'movieId', time 'timestamp'\n" in said
    assert (
        "init: items: movies.csv, 40 rows, 100.0% of the events' ids are there: 1 of 2 columns become features" in said
    )
    why = "'movieId' holds 100% of the ids of 'movieId', and another table was taken"
    assert f"init: not used: links.csv: {why}\n" in said
    assert "init: wrote configs/ml.toml, with 1 question at its top\n" in said
    assert said.endswith("next: cascade run --config configs/ml.toml --out runs/ml\n")
    assert load_config(Path("configs/ml.toml")).data.events == "ratings.csv"
    assert sorted(path.name for path in Path("configs").iterdir()) == ["ml.toml"]
    text = Path("configs/ml.toml").read_text()
    assert text.startswith("# Written by `cascade init ratings.csv movies.csv links.csv --out configs/ml.toml`.\n")


def test_a_config_that_is_there_is_kept_unless_asked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    LAYOUTS["movielens_csv"](tmp_path)
    Path("config.toml").write_text("mine")
    assert typed("ratings.csv") == 1
    assert "error: config.toml is there already; name another with --out, or write over it with --force" in (
        capsys.readouterr().err
    )
    assert Path("config.toml").read_text() == "mine"
    assert typed("ratings.csv", "--force") == 0
    assert load_config(Path("config.toml")).data.user_id == "userId"


def test_a_column_can_be_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    LAYOUTS["lastfm"](tmp_path)
    assert typed(".", "--item-id", "artid", "--out", "artists.toml") == 0
    config = load_config(Path("artists.toml"))
    assert config.data.item_id == "artid" and config.data.events == "artists_tables/events.parquet"
    assert "--item-id artid" in Path("artists.toml").read_text()
    assert Path("artists_tables/events.parquet").is_file()


def test_tables_that_cannot_be_used_leave_nothing_behind(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("log.csv").write_text("a,b\n1,2\n3,4\n")
    assert typed("log.csv") == 1
    assert capsys.readouterr().err.startswith("error: expected a column with the user of each event, got none: log.csv")
    assert [path.name for path in Path().iterdir()] == ["log.csv"]


def test_killed_in_the_middle_it_leaves_the_old_config_and_the_next_call_ends_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    LAYOUTS["movielens_csv"](tmp_path)
    Path("config.toml").write_text("mine")
    # The config is checked when it is written, and before it gets its name.
    killed = "import os, ensemble.config_file as c; c.load_config = lambda path: os.kill(os.getpid(), 9)"
    call = f"{killed}; from scripts.cli import app; app(['init', 'ratings.csv', '--force'])"
    found = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=False)
    assert found.returncode == -signal.SIGKILL, found.stderr
    assert Path("config.toml").read_text() == "mine"
    assert Path(".config.toml.tmp").is_file()
    assert typed("ratings.csv", "--force") == 0
    assert load_config(Path("config.toml")).data.events == "ratings.csv"
    assert not list(tmp_path.glob(".*"))


def test_of_two_at_once_one_writes_and_the_other_says_who_is_in_the_way(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    LAYOUTS["lastfm"](tmp_path)
    # The first waits, with its tables written and its config unfinished, until the second has ended.
    first = """
import sys, ensemble.config_file as c
load = c.load_config
def wait(path):
    print("there", flush=True)
    sys.stdin.readline()
    return load(path)
c.load_config = wait
from scripts.cli import app
app(["init", ".", "--item-id", "artid"])
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", first], text=True, **pipes) as one:
        assert one.stdout.readline() == "there\n"
        call = [sys.executable, "-m", "scripts.cli", "init", ".", "--force"]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'client'}"}
        second = subprocess.run(call, capture_output=True, text=True, check=False, env=environment)
        other = subprocess.run([*call, "--out", "b.toml"], capture_output=True, text=True, check=False, env=environment)
        _, said = one.communicate("go on\n")
    assert second.returncode == 1 and f"error: {tmp_path} is being written by 'cascade" in second.stderr
    assert f"(process {one.pid}, since " in second.stderr and "Traceback" not in second.stderr
    assert one.returncode == 0 and other.returncode == 0, said + other.stderr
    assert load_config(Path("config.toml")).data.item_id == "artid"
    assert load_config(Path("b.toml")).data.events == "b_tables/events.parquet"
    assert not list(tmp_path.rglob("*.tmp")) and not list(tmp_path.glob(".*"))


def test_a_full_disk_leaves_the_old_config(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    LAYOUTS["movielens_csv"](tmp_path)
    with small_disk(tmp_path / "disk", 64 << 10) as disk:
        (disk / "ml.toml").write_text("mine")
        with pytest.raises(OSError, match="No space left"):
            (disk / "filler").write_bytes(bytes(1 << 20))
        assert typed("ratings.csv", "--out", "disk/ml.toml", "--force") == 1
        said = capsys.readouterr().err
        assert said == f"error: the disk of {disk} is full; free some space and run this command again\n"
        assert sorted(path.name for path in disk.iterdir()) == ["filler", "ml.toml"]
        assert (disk / "ml.toml").read_text() == "mine"
