"""Which config keys a person has set, and the refusal of those that would have no effect.

A default that does not apply is nobody's wish; a key that was written down is. So the loader notes which keys were
given, and each of them is applied or refused. What was given decides refusals alone, never a result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from workflows.core.errors import ConfigError

__all__ = ["Given", "Unused", "given_keys", "refuse_unused"]


class Unused(msgspec.Struct, frozen=True):
    """A key that has no effect under the other keys or on the data.

    Attributes:
        key: its full path, or that of a section, none of whose keys has an effect.
        why: the rest of the sentence "KEY has no effect, since ...".
        remedy: what the person can do instead, an imperative.
    """

    key: str
    why: str
    remedy: str


class Given(msgspec.Struct, frozen=True):
    """The full paths of the keys that were set, in TOML or with `--set`."""

    keys: frozenset[str] = frozenset()

    def under(self, path: str) -> list[str]:
        """The given keys that are `path` or lie below it, sorted."""
        return sorted(key for key in self.keys if key == path or key.startswith((f"{path}.", f"{path}[")))


def given_keys(tree: Mapping[str, Any]) -> Given:
    """The paths of all values of a config as it was read; a list of tables counts by number: chain.rules[0].op."""
    return Given(frozenset(_leaves("", tree)))


def refuse_unused(given: Given, unused: Iterable[Unused]) -> None:
    """Refuse the first given key that has no effect.

    Raises:
        ConfigError: names the key, why it has no effect, and what has one.
    """
    for found in unused:
        for key in given.under(found.key):
            raise ConfigError(f"config: {key} has no effect, since {found.why}; {found.remedy}")


def _leaves(path: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(f"{path}.{key}" if path else str(key), inner)
    elif isinstance(value, list) and value and all(isinstance(inner, Mapping) for inner in value):
        for number, inner in enumerate(value):
            yield from _leaves(f"{path}[{number}]", inner)
    else:
        yield path
