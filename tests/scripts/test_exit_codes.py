"""Every status that a command can end with stands in `cascade --help` and on the page of commands."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from operations.experiments.watch import LOST, OK, WORSE
from scripts.cli import app
from scripts.commands_page import commands_page
from scripts.examples import EXIT_CODES
from scripts.output import UNREAD

SCRIPTS = Path(__file__).parents[2] / "scripts"
# What a function that does the work returns, of the calls whose value cannot be read off the file.
RETURNED = {"common": [1, UNREAD], "serve": [0, 1], "experiment": [OK, LOST, WORSE], "stream": [0], "events": [0, 1]}


def statuses(path: Path) -> Iterator[int]:
    """Of each `typer.Exit(...)` of a file."""
    module = importlib.import_module(f"scripts.{path.stem}")
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "typer.Exit":
            (given,) = node.args
            yield from _values(given, vars(module)) or RETURNED[path.stem]


def _values(given: ast.expr, names: dict[str, object]) -> list[int]:
    if isinstance(given, ast.Constant):
        return [int(given.value)]
    name = re.match(r"\w+", ast.unparse(given))
    assert name is not None
    found = names.get(name[0])
    if isinstance(found, dict):
        return list(found.values())
    return [found] if isinstance(found, int) else []


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.py")), ids=lambda path: path.stem)
def test_a_command_ends_with_a_status_that_is_documented(path: Path) -> None:
    assert set(statuses(path)) <= set(EXIT_CODES)


def test_every_status_is_used_and_stands_on_the_page_and_in_the_help() -> None:
    used = {status for path in SCRIPTS.glob("*.py") for status in statuses(path)}
    assert used | {0, 2} == set(EXIT_CODES)  # 0 and 2 are what Typer ends with by itself
    page, help_ = commands_page(), str(app.info.epilog)
    for code, words in EXIT_CODES.items():
        assert f"- {code}: {words}" in " ".join(page.split()) and f"{code} {words}" in help_
