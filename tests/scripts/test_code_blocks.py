"""Every code block of the documentation is what it says: a command with options that are there, a config, Python.

What the tutorials do is executed by tests of their own; here is what holds for every block of every page.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer

from benchmarks.__main__ import app as benchmarks
from ensemble.config_file import load_overrides
from scripts.cli import app
from tests.scripts.code_blocks import Block, all_blocks, blocks, commands, pages, spans
from tests.scripts.tracked import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SHELL = ("bash", "console")
# Output, and languages that others run: sql and yaml by tests of their pages.
SHOWN = ("text", "sql", "yaml")
OURS = re.compile(r"(cascade_client|runtime|workflows|models|ensemble|operations|console|benchmarks|scripts)\b")
COMMAND: dict[str, Any] = {"cascade": typer.main.get_command(app), "benchmarks": typer.main.get_command(benchmarks)}
# A span of prose that begins with the name of the program and is no command line.
NO_LINE = re.compile(r"cascade (=|COMMAND\b|--help\b)|.*\.\.\.")
FOUND = all_blocks()
# Python that needs no server and no run; what does is followed by a test of its page.
RUN = [("docs/ADD_A_METRIC.md", 0), ("docs/EXPERIMENTS.md", 1), ("docs/EXPERIMENTS.md", 3), ("docs/ADD_A_SOURCE.md", 0)]
RUN += [("docs/LABORATORY.md", 0)]


def of(*languages: str) -> Any:
    """A test for each block of these languages."""
    chosen = [block for block in FOUND if block.language in languages]
    return pytest.mark.parametrize("block", chosen, ids=[block.place for block in chosen])


def command_of(program: str, words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words name, and what is left of them.

    Raises:
        LookupError: there is no such command.
    """
    command, left = COMMAND[program], list(words)
    while hasattr(command, "commands") and left and not left[0].startswith("-"):
        if left[0] not in command.commands:
            raise LookupError(f"no such command: {program} {' '.join(words)}")
        command, left = command.commands[left[0]], left[1:]
    return command, left


def wrong(words: list[str]) -> str:
    """What is wrong with a command line of ours; empty where nothing is, or where the program is another."""
    words = [re.sub(r"\$\w+", "1", word) for word in words]
    if words[:1] == ["cascade"]:
        program, words = "cascade", words[1:]
    elif words[:3] == ["python", "-m", "benchmarks"]:
        program, words = "benchmarks", words[3:]
    elif words[:1] == ["make"]:
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return "".join(f"make {word}: no such target" for word in words[1:] if "=" not in word and word not in targets)
    elif words[:2] == ["python", "-m"] and words[2].startswith("scripts."):
        return "" if (ROOT / f"{words[2].replace('.', '/')}.py").is_file() else f"no such module: {words[2]}"
    else:
        return ""
    try:
        command, left = command_of(program, words)
        if "--help" not in left:
            command.make_context(command.name, list(left))
            load_overrides([value for name, value in pairwise(left) if name == "--set"])
    except Exception as error:  # of the parser, which has a click of its own, or of the config
        said = getattr(error, "format_message", error.__str__)()
        return f"{' '.join(words)}: {said}"
    return ""


@of(*SHELL)
def test_a_shell_block_is_shell_and_its_commands_take_what_they_are_given(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.code, capture_output=True, text=True, check=False)
    assert not done.stderr
    assert not list(filter(None, map(wrong, commands(block.code))))


@of("toml")
def test_a_toml_block_is_read_by_our_own_reader(block: Block, tmp_path: Path) -> None:
    if "pyproject" not in block.title:
        (tmp_path / "config.toml").write_text(block.code)
        load_overrides([], tmp_path / "config.toml")
    assert tomllib.loads(block.code)


@of("json")
def test_a_json_block_is_json_whole_or_line_by_line(block: Block) -> None:
    try:
        json.loads(block.code)
    except ValueError:
        assert all(isinstance(json.loads(line), dict) for line in block.code.splitlines())


@of("python")
def test_a_python_block_compiles_and_what_it_imports_of_ours_is_there(block: Block) -> None:
    tree = ast.parse(block.code)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and OURS.match(node.module):
            module = importlib.import_module(node.module)
            missing = [name.name for name in node.names if not hasattr(module, name.name)]
            assert not [name for name in missing if not _is_module(f"{node.module}.{name}")]


@pytest.mark.parametrize(("page", "place"), RUN)
def test_a_python_block_that_needs_nothing_else_runs(
    page: str, place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = [block.code for block in FOUND if block.place.startswith(f"{page}:") and block.language == "python"]
    exec(found[place].replace("20_000", "200"), {})  # visits


def _is_module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def test_every_block_says_what_it_is() -> None:
    known = {*SHELL, *SHOWN, "toml", "json", "python"}
    assert len(FOUND) > 150 and not [block.place for block in FOUND if block.language not in known]


@pytest.mark.parametrize("page", pages(), ids=str)
def test_commands_in_the_prose_have_the_options_that_they_are_said_to_have(page: Path) -> None:
    found = []
    for span in spans((ROOT / page).read_text(encoding="utf-8")):
        if re.match(r"cascade( |$)", span) and not NO_LINE.match(span):
            try:
                command, left = command_of("cascade", shlex.split(span, comments=True)[1:])
            except LookupError as error:
                found.append(f"{span}: {error}")
                continue
            options = {name for param in command.params for name in [*param.opts, *param.secondary_opts]}
            given = [word.partition("=")[0] for word in left if word.startswith("--")]
            found += [f"{span}: no {name}" for name in given if name not in {*options, "--help"}]
    assert not found


@pytest.mark.parametrize(
    ("shell", "found"),
    [
        ("a --x 'b c' && d | e; f &", [["a", "--x", "b c"], ["d"], ["e"], ["f"]]),
        ("A=1 B=2 a C=3 2>> log.txt # it's said\nb > out", [["a", "C=3"], ["b"]]),
        ("a \\\n  --x 1\n# nothing\n\nb", [["a", "--x", "1"], ["b"]]),
        ("curl -d '{\"a\":\n 1}' b", [["curl", "-d", '{"a":\n 1}'.replace("\n", " ;; "), "b"]]),
    ],
)
def test_what_a_command_is(shell: str, found: list[list[str]]) -> None:
    assert list(commands(shell)) == found


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("cascade run --config a.toml --out b --set ranking.max_epochs=3", ""),
        ("cascade run --config a.toml --oout b", "No such option"),
        ("cascade runn", "no such command"),
        ("cascade why", "Missing"),
        ("cascade run --config a.toml --out b --set ranking.epochs=3", "unknown key"),
        ("python -m benchmarks nothing", "no such command"),
        ("make nothing", "no such target"),
        ("python -m scripts.nothing", "no such module"),
        ("ls --nothing", ""),
    ],
)
def test_a_wrong_line_is_found(line: str, says: str) -> None:
    assert says.lower() in wrong(line.split()).lower() and bool(says) == bool(wrong(line.split()))


def test_what_a_block_is() -> None:
    text = '# A\n\n```json title="a.json"\n{}\n```\n\n- b\n\n  ```bash\n  ls\n  ```\n\nand `c d`, ``e`` and\n`f\ng`.\n'
    assert blocks("p.md", text) == [Block("p.md:3", "json", "a.json", "{}\n"), Block("p.md:9", "bash", "", "ls\n")]
    assert spans(text) == ["c d", "f g"]
