"""A key of the config, another value for it, and what shows that it was heard."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from ensemble.config import Config, Sections
from ensemble.config_file import load_config
from workflows.core.errors import CascadeError, ConfigError

__all__ = ["BASES", "Case", "differs", "keys", "name_of"]

EVENTS = "[data]\nevents = 'events.parquet'\nitems = 'items.parquet'\nusers = 'users.parquet'\n"
# What a case starts from: events with an order, without one, and the simulated shop.
BASES = {
    "ordered": f"{EVENTS}timestamp = 'at'\nlabels = ['click', 'buy']\ncontext = ['device']\n",
    "plain": f"{EVENTS}labels = ['click', 'buy']\n[split]\nby = 'leave_last_out'\n",
    "shop": "[data]\nsource = 'shop'\ntimestamp = 'timestamp'\nlabels = ['click']\n[shop]\nnum_users = 40\n"
    "num_items = 30\nnum_impressions = 400\n",
}
# A feature, a rule and a target have names or numbers of their own in every config.
NAMED = (
    (r"features\.(users|items|context)\.[^.]+", "features.SIDE.NAME"),
    (r"features\.stream\.[^.]+", "features.stream.NAME"),
    (r"ranking\.tasks\.[^.]+", "ranking.tasks.NAME"),
    (r"experiments\.[^.]+", "experiments.NAME"),
    (r"\[\d+\]", "[N]"),
    (r"search\.params\..*", "search.params"),
)


class Case(msgspec.Struct, frozen=True):
    """One change.

    Attributes:
        change: "key=value", as after `--set`.
        see: what the key is for, worked out by the cheapest code that reads it: config, scratch folder -> any value.
        given: overrides that both configs have.
        base: one of BASES.
        of: the key, where the change gives a whole table of a list anew.
    """

    change: str
    see: Callable[[Config, Path], Any]
    given: tuple[str, ...] = ()
    base: str = "ordered"
    of: str = ""

    @property
    def key(self) -> str:
        """The key without the names of features and the numbers of rules."""
        return self.of or name_of(self.change.partition("=")[0])


def name_of(key: str) -> str:
    """A key of the config as `keys` calls it."""
    for pattern, name in NAMED:
        key = re.sub(pattern, name, key)
    return key


def keys() -> set[str]:
    """Every key of every section, from the structs themselves."""
    return {name_of(key) for key in _keys(msgspec.inspect.type_info(Sections), "")}


def differs(case: Case, folder: Path) -> bool:
    """Whether another value shows, or is refused by the name of its key."""
    path = folder / "base.toml"
    path.write_text(BASES[case.base])
    before = load_config(path, case.given)
    try:
        after = load_config(path, [*case.given, case.change])
    except ConfigError as error:
        return case.change.partition("=")[0] in str(error)
    (first := folder / "0").mkdir()
    (second := folder / "1").mkdir()
    shown = case.see(before, first)
    try:
        return bool(shown != case.see(after, second))
    except CascadeError:  # a refusal of the stage is as good
        return True


def _keys(node: msgspec.inspect.Type, path: str) -> Iterator[str]:
    if isinstance(node, msgspec.inspect.StructType):
        for field in node.fields:
            yield from _keys(field.type, f"{path}.{field.encode_name}".removeprefix("."))
    elif isinstance(node, msgspec.inspect.DictType) and isinstance(node.value_type, msgspec.inspect.StructType):
        yield from _keys(node.value_type, f"{path}.NAME")
    elif isinstance(node, msgspec.inspect.ListType | msgspec.inspect.VarTupleType) and isinstance(
        node.item_type, msgspec.inspect.StructType
    ):
        yield from _keys(node.item_type, f"{path}[0]")
    elif isinstance(node, msgspec.inspect.UnionType) and isinstance(node.types[0], msgspec.inspect.StructType):
        yield from _keys(node.types[0], path)
    else:
        yield path
