"""docs/COMMANDS.md from the commands: their arguments, options and exit codes."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, OptionInfo

from scripts.cli import app
from scripts.examples import EXIT_CODES
from scripts.markdown_text import NOTE, item, paragraphs

__all__ = ["commands_page"]

COMMANDS_HEAD = (
    NOTE.format("the commands")
    + """# Commands

Every command with its arguments and options, as `cascade COMMAND --help` shows them. `cascade --install-completion`
makes your shell (bash, zsh, fish) complete commands and options; `cascade --show-completion` prints what it would add.

## What comes out

What a command says of its work, and its progress, goes to standard error; what it was asked for goes to standard
output. With `--json`, wherever a table is printed, standard output holds JSON and nothing else, the same data:
[its keys](JSON.md).

An expected error is one sentence on standard error that begins with `error:`, and a traceback is a bug. Exit codes:

"""
    + "".join(f"- {code}: {words}\n" for code, words in EXIT_CODES.items())
)


def commands_page() -> str:
    """The whole page of commands."""
    return COMMANDS_HEAD + "".join(_command(f"cascade {name}", call) for name, call in sorted(_commands().items()))


def _commands() -> dict[str, Callable[..., None]]:
    """The whole name of every command -> what it calls."""
    found = {str(command.name): command.callback for command in app.registered_commands}
    for group in app.registered_groups:
        inner = group.typer_instance
        assert inner is not None
        found |= {f"{inner.info.name} {command.name}": command.callback for command in inner.registered_commands}
    return {name: call for name, call in found.items() if call is not None}


def _command(name: str, call: Callable[..., None]) -> str:
    """A section of the page of commands."""
    hints = get_type_hints(call, include_extras=True)
    parameters = inspect.signature(call).parameters.values()
    given = [(param, *_declared(hints[param.name])) for param in parameters if param.name in hints]
    arguments = [_argument(param, info) for param, _, info in given if isinstance(info, ArgumentInfo)]
    lines = "".join(
        item(f"`{_name(param, info)}`", _about(param, kind), info.help or "") for param, kind, info in given
    )
    usage = " ".join([name, *arguments, "[OPTIONS]"])
    return f"\n## {name}\n\n{paragraphs(inspect.getdoc(call) or '')}\n\n```text\n{usage}\n```\n\n{lines}"


def _declared(hint: Any) -> tuple[Any, OptionInfo | ArgumentInfo]:
    """The type of a parameter, and what its annotation says of it."""
    kind, *metas = get_args(hint)
    return kind, next(meta for meta in metas if isinstance(meta, (OptionInfo, ArgumentInfo)))


def _argument(param: inspect.Parameter, info: ArgumentInfo) -> str:
    name = info.metavar or param.name.upper()
    return name if param.default is inspect.Parameter.empty or name.startswith("[") else f"[{name}]"


def _name(param: inspect.Parameter, info: OptionInfo | ArgumentInfo) -> str:
    if isinstance(info, ArgumentInfo):
        return info.metavar or param.name.upper()
    # Typer takes the first name for a default, which an annotation cannot have.
    names = [*([info.default] if isinstance(info.default, str) else []), *(info.param_decls or [])]
    return ", ".join(names or ["--" + param.name.replace("_", "-")])


def _about(param: inspect.Parameter, kind: Any) -> str:
    """Type, and default where there is one."""
    words, default = _option_words(kind), param.default
    if default is inspect.Parameter.empty:
        return f"{words}; required"
    if default is None or default in ((), [], "") or default is False:
        return words
    shown = default.value if isinstance(default, Enum) else default
    return f"{words}; default {str(shown).lower() if shown is True else shown}"


def _option_words(kind: Any) -> str:
    """The type of an option in words."""
    origin, arguments = get_origin(kind), [part for part in get_args(kind) if part is not type(None)]
    if origin in (list, tuple):
        return f"{_option_words(arguments[0])}, repeatable"
    if origin in (Union, types.UnionType):
        return " or ".join(map(_option_words, arguments))
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " or ".join(str(choice.value) for choice in kind)
    return {bool: "flag", Path: "path", int: "integer", float: "number", str: "text"}[kind]
