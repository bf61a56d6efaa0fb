"""What data.events, data.items and data.users name in a warehouse: a table or a query."""

from __future__ import annotations

import re
from collections.abc import Sequence

from workflows.core.errors import ConfigError, DataError
from workflows.tables.visible import key_of

__all__ = ["from_clause", "named", "specs_of"]

QUERY = re.compile(r"\s*(--[^\n]*\n\s*|/\*.*?\*/\s*|\(\s*)*(select|with)\b", re.IGNORECASE | re.DOTALL)
PART = r'(?:[A-Za-z_][A-Za-z0-9_$\-]*|"(?:[^"]|"")+"|`[^`]+`)'
TABLE = re.compile(rf"{PART}(\.{PART}){{0,2}}")
MAX_NAME = 80


def specs_of(table: str, spec: str | Sequence[str]) -> list[str]:
    """The tables and queries that make up one table.

    Raises:
        DataError: there is none, or one is named twice, so that its rows would be read twice.
    """
    specs = [spec] if isinstance(spec, str) else list(spec)
    if not specs:
        raise DataError(f"{table}: expected a table or a query, got an empty list; set {key_of(table)}")
    for one in specs:
        if specs.count(one) > 1:
            raise DataError(f"{table}: {named(one)} is named twice, so its rows would be read twice; name it once")
    return specs


def from_clause(table: str, spec: str) -> str:
    """What stands behind FROM: the name of a table, or a query in parentheses.

    Raises:
        ConfigError: it is neither.
    """
    if QUERY.match(spec):
        return f"(\n{spec.strip().rstrip(';')}\n) AS t"
    if TABLE.fullmatch(spec.strip()):
        return spec.strip()
    raise ConfigError(
        f"{key_of(table)}: expected a table (schema.table, a name with other signs in quotes) or a query that begins "
        f"with SELECT or WITH, got {named(spec)!r}"
    )


def named(spec: str) -> str:
    """A table or query for messages."""
    words = " ".join(spec.split())
    return words if len(words) <= MAX_NAME else f"{words[:MAX_NAME]}..."
