"""From a TOML file and `--set a.b=c` overrides to a checked Config, without any heavy import."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ensemble.config import Config, Sections
from ensemble.config_moved import new_place
from ensemble.config_rules import problems
from ensemble.config_unused import unused_keys
from workflows.core.errors import ConfigError
from workflows.core.given import given_keys, refuse_unused
from workflows.features.checks import check_features
from workflows.tables.warehouse.address import blurred

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["load_config", "load_overrides", "parse_override"]

AT = re.compile(r" - at `(?P<path>[^`]*)`$")
ENTRY = "[...]"
HOLDERS = (
    msgspec.inspect.StructType,
    msgspec.inspect.DictType,
    msgspec.inspect.ListType,
    msgspec.inspect.VarTupleType,
)
KINDS = {
    msgspec.inspect.BoolType: "true or false",
    msgspec.inspect.IntType: "an integer",
    msgspec.inspect.FloatType: "a number",
    msgspec.inspect.ListType: "a list",
    msgspec.inspect.VarTupleType: "a list",
}
BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>[^`]*)`")


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a config file and lay the overrides on top.

    Args:
        path: a TOML file, one table a section of Config.
        overrides: "section.key=value" each; the value is TOML, or taken as a string when it is not.

    Raises:
        ConfigError: names the full key path and the allowed keys or values; or a given key that has no effect.
    """
    return _check(_typed(_laid_on(_read(path), overrides)))


def load_overrides(overrides: Sequence[str], path: Path | None = None) -> Config:
    """A file, or the defaults, with overrides on top, for a command that needs no tables: they may be left out.

    Raises:
        ConfigError: see `load_config`.
    """
    return _typed(_laid_on(_read(path) if path else {}, overrides))


def _laid_on(tree: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    for override in overrides:
        keys, value = parse_override(override)
        _put(tree, keys, value)
    return tree


def parse_override(override: str) -> tuple[list[str], Any]:
    """Split "a.b=c" into the key path and the value.

    Raises:
        ConfigError: there is no "=" or an empty key.
    """
    dotted, equals, text = override.partition("=")
    keys = _keys(dotted)
    if not equals or not keys or not all(keys):
        raise ConfigError(
            f"--set {blurred(override)}: expected section.key=value, for example --set shop.num_items=1000"
        )
    try:
        return keys, tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return keys, text


def _keys(dotted: str) -> list[str]:
    """The parts of a key path; those in quotes may hold dots, as in TOML."""
    try:
        node: Any = tomllib.loads(f"{dotted} = 0")
    except tomllib.TOMLDecodeError:
        return [key.strip() for key in dotted.split(".")]
    keys = []
    while isinstance(node, dict) and node:
        [(key, node)] = node.items()
        keys.append(key)
    return keys


def _read(path: Path) -> dict[str, Any]:
    try:
        tree: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return tree
    except FileNotFoundError:
        raise ConfigError(f"--config {path}: there is no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def _put(tree: dict[str, Any], keys: list[str], value: Any) -> None:
    for depth, key in enumerate(keys[:-1]):
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"--set {'.'.join(keys)}: {'.'.join(keys[: depth + 1])} is a value, not a section")
    tree[keys[-1]] = value


def _typed(tree: dict[str, Any]) -> Config:
    try:
        sections = msgspec.convert(tree, Sections)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(str(error), tree)) from None
    return Config(**{name: getattr(sections, name) for name in sections.__struct_fields__}, given=given_keys(tree))


def _check(config: Config) -> Config:
    for problem in problems(config):
        raise ConfigError(problem)
    check_features(config.features)
    refuse_unused(config.given, unused_keys(config))
    return config


def _explain(message: str, tree: dict[str, Any]) -> str:
    """Turn msgspec's message into a key path, what was expected, what came, and what is allowed."""
    found = AT.search(message)
    path = found["path"].removeprefix("$").removeprefix(".") if found else ""
    entry = _entry(path, tree)
    shown = path if entry is None else path.replace(ENTRY, f".{entry}", 1)
    reason = AT.sub("", message)
    if unknown := UNKNOWN.match(reason):
        key = f"{shown}.{unknown['key']}".removeprefix(".")
        if moved := new_place(key, tree):
            return f"config: {moved}"
        return f"config: unknown key {key}; allowed here: {', '.join(_keys_at(path))}"
    came = blurred(repr(_value_at(tree, path, entry)))
    if allowed := _literals_at(path):
        names = ", ".join(map(repr, allowed))
        words = [*_others_at(path), names if len(allowed) == 1 else f"one of {names}"]
        return f"config: {shown}: expected {' or '.join(words)}, got {came}"
    expected = re.sub(r", got `[^`]*`$", "", reason)
    return f"config: {shown or 'top level'}: {expected[0].lower()}{expected[1:]}, got {came}"


def _entry(path: str, tree: dict[str, Any]) -> str | None:
    """Which key of a mapping holds the value that fails, where the path says ENTRY, msgspec's word for any of them."""
    head, dots, _ = path.partition(ENTRY)
    node = _type_at(head) if dots else None
    wanted = node.value_type if isinstance(node, msgspec.inspect.DictType) else None
    if not isinstance(wanted, msgspec.inspect.StructType):
        return None
    for key, value in _value_at(tree, head).items():
        try:
            msgspec.convert(value, wanted.cls)
        except msgspec.ValidationError:
            return str(key)
    return None


def _type_at(path: str) -> msgspec.inspect.Type:
    """The type that Sections declares at a key path; `[...]` steps into a mapping or list."""
    node: msgspec.inspect.Type = msgspec.inspect.type_info(Sections)
    for part in re.findall(r"\[[^\]]*\]|[^.\[\]]+", path):
        node = _holder(node)
        if isinstance(node, msgspec.inspect.StructType):
            fields = {field.encode_name: field.type for field in node.fields}
            node = fields.get(part, msgspec.inspect.AnyType())
        elif isinstance(node, msgspec.inspect.DictType):
            node = node.value_type
        elif isinstance(node, (msgspec.inspect.ListType, msgspec.inspect.VarTupleType)):
            node = node.item_type
    return node


def _holder(node: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """The member of a union that has keys or entries; any other type itself."""
    members = node.types if isinstance(node, msgspec.inspect.UnionType) else (node,)
    return next((member for member in members if isinstance(member, HOLDERS)), node)


def _keys_at(path: str) -> list[str]:
    node = _holder(_type_at(path))
    return [field.encode_name for field in node.fields] if isinstance(node, msgspec.inspect.StructType) else []


def _literals_at(path: str) -> list[Any]:
    node = _type_at(path)
    members = node.types if isinstance(node, msgspec.inspect.UnionType) else (node,)
    return [value for member in members if isinstance(member, msgspec.inspect.LiteralType) for value in member.values]


def _others_at(path: str) -> list[str]:
    """In words, what a union takes beside names."""
    node = _type_at(path)
    members = node.types if isinstance(node, msgspec.inspect.UnionType) else ()
    return [words + _bounds(member) for member in members for kind, words in KINDS.items() if isinstance(member, kind)]


def _bounds(kind: msgspec.inspect.Type) -> str:
    """Of a number, such as " >= 1 and <= 64"."""
    given = {sign: getattr(kind, name, None) for name, sign in BOUNDS.items()}
    said = " and ".join(f"{sign} {bound:g}" for sign, bound in given.items() if bound is not None)
    return f" {said}" if said else ""


def _value_at(tree: Any, path: str, entry: str | None = None) -> Any:
    node = tree
    for part in re.findall(r"\[[^\]]*\]|[^.\[\]]+", path):
        if isinstance(node, dict):
            node = node.get(entry if part == ENTRY else part)
        elif isinstance(node, list) and part.strip("[]").isdigit():
            node = node[int(part.strip("[]"))]
    return node
