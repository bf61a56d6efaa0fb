"""Writes docs/COMMANDS.md, CONFIGURATION.md and PYTHON.md from the code: `python -m scripts.reference_pages`."""

from __future__ import annotations

import inspect
import re
import textwrap
import types
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from typer.models import ArgumentInfo, OptionInfo

from ensemble.config import Sections
from scripts.artefacts_page import WIDTH, meanings_of
from scripts.cli import app
from scripts.python_page import python_page

__all__ = ["PAGES", "commands_page", "configuration_page"]

DOCS = Path(__file__).parent.parent / "docs"
NOTE = "<!-- Written by python -m scripts.reference_pages from {}. -->\n"
COMMANDS_HEAD = (
    NOTE.format("the commands")
    + """# Commands

Every command with its arguments and options, as `cascade COMMAND --help` shows them. An expected error is one sentence
on standard error that begins with `error:`, with status 1; status 2 is an argument that the command does not know, 130
a command that was interrupted.
"""
)
CONFIGURATION_HEAD = (
    NOTE.format("the types of the sections")
    + """# Configuration

One TOML file a data set, with `--set section.key=value` on top. Every key has a default; one that is unknown, of
another type or out of its range is refused before anything runs, with what is allowed.
"""
)
WORDS = {bool: "true or false", int: "integer", float: "number", str: "string", type(None): "absent", Any: "any value"}
BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}


def commands_page() -> str:
    """The whole page of commands."""
    return COMMANDS_HEAD + "".join(_command(f"cascade {name}", call) for name, call in sorted(_commands().items()))


def configuration_page() -> str:
    """The whole page of sections.

    Raises:
        ValueError: a key has no line in the docstring of its section.
    """
    parts = []
    for name, kind in _fields(Sections).items():
        section, many = _section_of(kind)
        parts.append(_section(section, f"{name}.NAME" if many == "dict" else name, many, {}))
    return CONFIGURATION_HEAD + "".join(parts)


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
        _item(f"`{_name(param, info)}`", _about(param, kind), info.help or "") for param, kind, info in given
    )
    usage = " ".join([name, *arguments, "[OPTIONS]"])
    return f"\n## {name}\n\n{_paragraphs(inspect.getdoc(call) or '')}\n\n```text\n{usage}\n```\n\n{lines}"


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


def _paragraphs(text: str) -> str:
    """Help as Markdown; its indented blocks are code."""
    parts = re.split(r"\n\s*\n", inspect.cleandoc(text.split("\f")[0]))
    return "\n\n".join(
        f"```text\n{textwrap.dedent(part)}\n```" if part.startswith("    ") else _fill(" ".join(part.split()))
        for part in parts
    )


def _section(kind: type, path: str, many: str, shown: dict[type, str]) -> str:
    """A section of the config and those within it."""
    title = f"[[{path}]]" if many == "list" else f"[{path}]"
    if kind in shown:
        return f"\n## {title}\n\nThe keys are those of `{shown[kind]}`.\n"
    shown[kind] = title
    meanings = _meanings(kind)
    first, *_ = (inspect.getdoc(kind) or "").partition("\nAttributes:")
    text, below = f"\n## {title}\n\n{_paragraphs(first)}\n\n", ""
    for field in msgspec.structs.fields(kind):
        if field.name not in meanings:
            raise ValueError(f"the docstring of {kind.__name__} has no line for {field.name!r} under 'Attributes:'")
        annotated = _fields(kind)[field.name]
        inner, inner_many = _section_of(annotated)
        if inner is not None:
            inner_path = f"{path}.{field.name}" + (".NAME" if inner_many == "dict" else "")
            below += _section(inner, inner_path, inner_many, shown)
        text += _item(f"`{field.name}`", _key(annotated, field, inner), meanings[field.name])
    return text + below


def _key(kind: Any, field: msgspec.structs.FieldInfo, inner: type | None) -> str:
    """Type, and default where there is one."""
    words = _type_words(kind)
    if field.required:
        return f"{words}; required"
    default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()  # type: ignore[operator, misc]
    if default is None or (inner is not None and not default) or isinstance(default, msgspec.Struct):
        return words
    return f"{words}; default `{_toml(default)}`"


def _toml(value: Any) -> str:
    """A default as the file would have it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_toml(part)}" for name, part in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return f"{value:_}" if isinstance(value, int) and value >= 10_000 else str(value)


def _type_words(kind: Any) -> str:
    """A type in words, with its bounds."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        bounds = [
            words.format(getattr(meta, name))
            for meta in arguments[1:]
            for name, words in BOUNDS.items()
            if getattr(meta, name) is not None
        ]
        return " ".join([_type_words(arguments[0]), " and ".join(bounds)])
    if origin is Literal:
        return " or ".join(map(_toml, arguments))
    if origin in (Union, types.UnionType):
        return " or ".join(_type_words(part) for part in arguments if part is not type(None))
    if origin in (tuple, list):
        return "table, repeatable" if _section_of(kind)[0] else f"list of {_type_words(arguments[0])}"
    if origin is dict:
        return "table a name" if _section_of(kind)[0] else f"table of {_type_words(arguments[1])}"
    return "table" if _is_section(kind) else WORDS[kind]


def _section_of(kind: Any) -> tuple[Any, str]:
    """The section that a key is, or that its list or table holds: "one", "list" or "dict" of them."""
    if _is_section(kind):
        return kind, "one"
    for argument in get_args(kind):
        found, _ = _section_of(argument)
        if found is not None:
            return found, {list: "list", tuple: "list", dict: "dict"}.get(get_origin(kind), "one")
    return None, ""


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _fields(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _meanings(kind: type) -> dict[str, str]:
    """What the docstrings of a section and of those that it extends say of each key."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        found |= meanings_of(base.__doc__ or "")
    return found


def _item(name: str, about: str, meaning: str) -> str:
    line = f"- {name} ({about})" + (f": {' '.join(meaning.split())}" if meaning else "")
    return _fill(line, "  ") + "\n"


def _fill(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


PAGES = {
    DOCS / "COMMANDS.md": commands_page,
    DOCS / "CONFIGURATION.md": configuration_page,
    DOCS / "PYTHON.md": python_page,
}

if __name__ == "__main__":
    for path, page in PAGES.items():
        path.write_text(page())
