"""What `cascade demo` says at its end: commands that work as they are printed."""

from __future__ import annotations

import re
import shlex
import stat
from pathlib import Path

import pytest
import typer

from ensemble.config_file import load_config
from scripts.cli import app
from scripts.demo import CONSOLE_URL, what_next
from scripts.examples import EXAMPLES
from workflows.shop.world import draw_world

ROOT = Path(__file__).parents[2]


def program(folder: Path) -> Path:
    """An executable of the name."""
    folder.mkdir()
    path = folder / "cascade"
    path.write_text("#!/bin/sh\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_the_command_is_named_as_it_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, elsewhere = program(tmp_path / "bin"), program(tmp_path / "other place")
    monkeypatch.setenv("PATH", str(here.parent))
    assert what_next(Path("runs/demo"), here)[0].startswith("look at it: cascade console runs/demo, then open http")
    assert f"'{elsewhere}' console" in what_next(Path("runs/demo"), elsewhere)[0]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert f"{here} console 'runs/a b'" in what_next(Path("runs/a b"), here)[0]


def test_every_line_has_options_that_its_command_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    root = typer.main.get_command(app)
    words = [
        shlex.split(part.partition(" writes ")[0])
        for line in what_next(Path("runs/demo"), Path("cascade"))
        for part in line.split(": ", 1)[1].split(", then ")
        if "cascade " in part
    ]
    assert len(words) == 5
    for _, command, *arguments in words:
        assert root.commands[command].make_context(command, arguments).params  # type: ignore[attr-defined]


def test_the_address_is_the_one_that_the_console_listens_on() -> None:
    root = typer.main.get_command(app)
    given = root.commands["console"].make_context("console", ["runs/demo"]).params  # type: ignore[attr-defined]
    assert f"http://{given['host']}:{given['port']}/" == CONSOLE_URL


def test_the_demo_trains_a_smaller_shop_with_live_events() -> None:
    demo, shop = (load_config(ROOT / "configs" / f"{name}.toml", []) for name in ("demo", "shop"))
    assert demo.shop.num_impressions < shop.shop.num_impressions / 2
    assert demo.stream is not None and demo.data.propensity == shop.data.propensity


def test_the_ids_of_the_examples_are_those_of_the_demo() -> None:
    truth = draw_world(load_config(ROOT / "configs/demo.toml", []).shop).truth
    items = {int(line.split()[2]) for name, line in EXAMPLES.items() if name in ("block", "unblock", "why")}
    users = {int(found) for line in EXAMPLES.values() for found in re.findall(r"--user-id (\d+)", line)}
    assert items and items <= set(truth.item_ids.tolist())
    assert users and users <= set(truth.user_ids.tolist())
