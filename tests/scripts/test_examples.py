"""Each command stands in one panel of `cascade --help`, with an example that its own options take."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import typer
from rich.markup import render
from typer.core import TyperGroup

from benchmarks.__main__ import app as benchmarks
from scripts.cli import app
from scripts.examples import EXAMPLES

ROOT = typer.main.get_command(app)


def found(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words name, and what is left of them."""
    command: Any = ROOT
    while isinstance(command, TyperGroup):
        command, words = command.commands[words[0]], words[1:]
    return command, words


def names(command: Any, before: str = "") -> list[str]:
    """The commands below one."""
    if not isinstance(command, TyperGroup):
        return [before.strip()]
    return [name for key, one in command.commands.items() for name in names(one, f"{before} {key}")]


def test_every_command_has_an_example() -> None:
    assert sorted(EXAMPLES) == sorted(names(ROOT))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_a_command_line_of_its_command(name: str) -> None:
    program, *words = shlex.split(EXAMPLES[name])
    assert program == "cascade" and words[: len(name.split())] == name.split()
    command, arguments = found(words)
    assert command.make_context(name, arguments).params
    assert command.epilog == f"Example: {EXAMPLES[name]}"


@pytest.mark.parametrize("program", [ROOT, typer.main.get_command(benchmarks)], ids=["cascade", "benchmarks"])
def test_help_shows_every_word_of_its_text(program: Any) -> None:
    """Rich takes words in square brackets for styles and leaves them out."""

    def texts(command: Any) -> list[str]:
        below = [text for one in getattr(command, "commands", {}).values() for text in texts(one)]
        return [command.help, command.epilog, *(getattr(param, "help", None) for param in command.params), *below]

    said = [text for text in texts(program) if text]
    assert len(said) > 20 and [render(text).plain for text in said] == said


def test_help_is_grouped_by_what_one_does_and_names_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ROOT(["--help"])
    said = capsys.readouterr().out
    panels = ["Start", "Train, stage by stage", "Serve", "Watch", "Decide"]
    places = [said.index(f" {panel} ─") for panel in panels]
    assert places == sorted(places) and "Exit codes: 0 done; 1 an expected error" in said
    assert " Commands ─" not in said
