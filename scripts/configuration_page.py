"""docs/CONFIGURATION.md from the types of the sections: every key, its type, its default and what it means."""

from __future__ import annotations

import inspect
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from ensemble.config import Sections
from scripts.artefacts_page import meanings_of
from scripts.markdown_text import NOTE, item, paragraphs

__all__ = ["configuration_page"]

CONFIGURATION_HEAD = (
    NOTE.format("the types of the sections")
    + """# Configuration

One TOML file a data set, with `--set section.key=value` on top. Every key has a default; one that is unknown, of
another type or out of its range is refused before anything runs, with what is allowed.
"""
)
WORDS = {bool: "true or false", int: "integer", float: "number", str: "string", type(None): "absent", Any: "any value"}
BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}


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


def _section(kind: type, path: str, many: str, shown: dict[type, str]) -> str:
    """A section of the config and those within it."""
    title = f"[[{path}]]" if many == "list" else f"[{path}]"
    if kind in shown:
        return f"\n## {title}\n\nThe keys are those of `{shown[kind]}`.\n"
    shown[kind] = title
    meanings = _meanings(kind)
    first, *_ = (inspect.getdoc(kind) or "").partition("\nAttributes:")
    text, below = f"\n## {title}\n\n{paragraphs(first)}\n\n", ""
    for field in msgspec.structs.fields(kind):
        if field.name not in meanings:
            raise ValueError(f"the docstring of {kind.__name__} has no line for {field.name!r} under 'Attributes:'")
        annotated = _fields(kind)[field.name]
        inner, inner_many = _section_of(annotated)
        if inner is not None:
            inner_path = f"{path}.{field.name}" + (".NAME" if inner_many == "dict" else "")
            below += _section(inner, inner_path, inner_many, shown)
        text += item(f"`{field.name}`", _key(annotated, field, inner), meanings[field.name])
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
