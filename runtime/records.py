"""Dataclasses from JSON; a key or type that does not fit is refused in one sentence.

The standard library alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

__all__ = ["from_record", "known_keys", "read_versioned"]

Record = TypeVar("Record")


def from_record(kind: type[Record], record: Any, where: str) -> Record:
    """Make a dataclass of a JSON object.

    Args:
        kind: the dataclass; its fields are bool, int, float, str, None, anything, dataclasses, and tuples, dicts and
            unions of these.
        record: what `json` read.
        where: the file and, within it, the path to the object, for the sentence.

    Raises:
        ValueError: a key is missing or unknown, or a value has another type than the field.
    """
    made: Record = _dataclass(kind, record, where)
    return made


def read_versioned(path: Path, versions: Sequence[int]) -> tuple[int, Any]:
    """The format version of a JSON object, and the object without it.

    Args:
        path: the file.
        versions: that can be read, the one that is written last.

    Raises:
        ValueError: written in another format version.
        OSError: the file is missing.
    """
    record: Any = json.loads(path.read_text())
    version: Any = record.pop("format_version", None) if isinstance(record, dict) else None
    if version not in versions:
        raise ValueError(f"{path.name} has format version {version}, this runtime reads {versions[-1]}: export again")
    return version, record


def known_keys(kind: type, record: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an object whose keys are fields of a dataclass."""
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in record.items() if name in names}


def _dataclass(kind: Any, record: Any, where: str) -> Any:
    if not isinstance(record, dict):
        raise ValueError(f"{where} is {record!r}, expected an object")
    known = {field.name: field for field in fields(kind)}
    has_default = {name for name, f in known.items() if (f.default, f.default_factory) != (MISSING, MISSING)}
    if missing := sorted(known.keys() - has_default - record.keys()):
        raise ValueError(f"{where} lacks {', '.join(map(repr, missing))}")
    if unknown := sorted(record.keys() - known.keys()):
        raise ValueError(f"{where} has the unknown keys {', '.join(map(repr, unknown))}")
    types = get_type_hints(kind)
    return kind(**{name: _value(types[name], value, f"{where}: {name}") for name, value in record.items()})


def _value(kind: Any, value: Any, where: str) -> Any:
    """One value as the type that a field is annotated with."""
    if kind is Any:
        return value
    if is_dataclass(kind):
        return _dataclass(kind, value, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        (kind,) = (argument for argument in arguments if argument is not NoneType)
        return _value(kind, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_value(arguments[0], part, f"{where}[{number}]") for number, part in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {name: _value(arguments[1], part, f"{where}.{name}") for name, part in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    if origin is not None or type(value) is not kind:
        raise ValueError(f"{where} is {value!r}, expected {getattr(kind, '__name__', kind)}")
    return value
