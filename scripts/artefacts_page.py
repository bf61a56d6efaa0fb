"""Writes docs/ARTEFACTS.md: `python -m scripts.artefacts_page`.

The template itself describes the array files. Every line `{{ module.Type }}` of it becomes the keys of a JSON
file: their types are those of the struct that writes and reads it, their meanings those of its docstring.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import re
import textwrap
import types
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

__all__ = ["PAGE", "WIDTH", "keys_of", "meanings_of", "page"]

DOCS = Path(__file__).parent.parent / "docs"
PAGE, TEMPLATE = DOCS / "ARTEFACTS.md", DOCS / "templates" / "ARTEFACTS.md"
PLACE = re.compile(r"^\{\{ ([\w.]+)\.(\w+) \}\}$", re.MULTILINE)
WIDTH = 120
NOTE = (
    "<!-- Written by python -m scripts.artefacts_page from docs/templates/ARTEFACTS.md and the types' docstrings. -->\n"
)
PLAIN = {bool: "bool", int: "int", float: "float", str: "string", type(None): "null", Any: "any value"}


def page() -> str:
    """The whole page.

    Raises:
        ValueError: a key has no line in the docstring of its type, or a type is none that JSON files hold.
    """
    return NOTE + PLACE.sub(lambda found: _list(_load(*found.groups())), TEMPLATE.read_text())


def keys_of(kind: Any, prefix: str = "", shown: dict[Any, str] | None = None) -> Iterator[tuple[list[str], str, str]]:
    """Paths, type and meaning of the keys of a JSON object, those of objects within it after their own.

    Keys that share a line of the docstring come together, and the keys of a type that is met again are not repeated.

    Args:
        kind: a msgspec struct or a dataclass whose docstring has a line under "Attributes:" for each field.
        prefix: of the paths.
        shown: type -> where its keys are; types are added.
    """
    shown = {} if shown is None else shown
    meanings, fields = meanings_of(inspect.getdoc(kind) or ""), _fields(kind)
    for name in fields:
        if name not in meanings:
            raise ValueError(f"the docstring of {kind.__name__} has no line for {name!r} under 'Attributes:'")
    for meaning, together in itertools.groupby(fields, key=meanings.__getitem__):
        names = list(together)
        part, is_list = _part(fields[names[0]])
        below = f"{prefix}{names[0]}{'[]' if is_list else ''}"
        type_words = " or ".join(dict.fromkeys(_type_words(fields[name]) for name in names))
        again = f", as `{shown[part]}`" if part in shown else ""
        yield [prefix + name for name in names], type_words + again, meaning
        if part is not None and not again:
            shown[part] = below
            yield from keys_of(part, f"{below}.", shown)


def _load(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _list(kind: Any) -> str:
    lines = [
        f"- {', '.join(map('`{}`'.format, paths))} ({words}): {meaning}" for paths, words, meaning in keys_of(kind)
    ]
    return "\n".join(
        textwrap.fill(line, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        for line in lines
    )


def _fields(kind: Any) -> dict[str, Any]:
    """Field -> type, in the order in which they are written."""
    hints = get_type_hints(kind)
    names = kind.__struct_fields__ if _is_struct(kind) else tuple(kind.__dataclass_fields__)
    return {name: hints[name] for name in names}


def meanings_of(docstring: str) -> dict[str, str]:
    """What the lines under "Attributes:" say of each name; several names may share one."""
    _, _, section = inspect.cleandoc(docstring).partition("Attributes:\n")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section.split("\n\n")[0].splitlines():
        entry = re.match(r"^    (\w[\w, ]*): (.*)$", line)
        if entry:
            names = entry[1].split(", ")
            found |= dict.fromkeys(names, entry[2])
        else:
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def _type_words(kind: Any) -> str:
    """A type in words."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in PLAIN:
        return PLAIN[kind]
    if origin is Literal:
        return " or ".join(f'"{value}"' for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(map(_type_words, arguments))
    if origin in (tuple, list):
        parts = dict.fromkeys(_type_words(one) for one in arguments if one is not Ellipsis)
        return f"list of {', '.join(parts)}"
    if origin is dict:
        return f"object of {_type_words(arguments[1])}"
    if _is_struct(kind) or is_dataclass(kind):
        return "object"
    raise ValueError(f"{kind} is no type of a JSON file")


def _part(kind: Any) -> tuple[Any, bool]:
    """The object that a value is, or that the parts of a list or the values of an object are."""
    if _is_struct(kind) or is_dataclass(kind):
        return kind, False
    for argument in get_args(kind):
        part, _ = _part(argument)
        if part is not None:
            return part, get_origin(kind) in (tuple, list)
    return None, False


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


if __name__ == "__main__":
    PAGE.write_text(page())
