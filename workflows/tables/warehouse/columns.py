"""Which columns of a warehouse's table are read, and under which names."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from workflows.core.errors import DataError
from workflows.tables.check import check_columns

__all__ = ["renamed"]


def renamed(
    table: str,
    columns: Iterable[str],
    needed: Iterable[tuple[str, str]],
    wanted: Collection[str],
    *,
    only_needed: bool,
    in_capitals: bool,
) -> dict[str, str]:
    """Name of each column in the warehouse -> its name in the table that is read, in the order of the warehouse.

    A column goes under the config's name for it: the same name, else the one that differs in capitals alone. What the
    config does not name keeps its name, in small letters where the warehouse writes all names in capitals.

    Args:
        table: name for messages.
        columns: names of all columns there are.
        needed: (column, config key that names it) that must be there.
        wanted: further names that the config may name.
        only_needed: whether the other columns are left out.
        in_capitals: whether the warehouse keeps names in capitals.

    Raises:
        DataError: a needed column is not there, or two columns would have one name.
    """
    there, needed = list(columns), list(needed)
    names = {name: name for name in there}
    for name in dict.fromkeys([*(column for column, _ in needed), *wanted]):
        alike = [other for other in there if other.lower() == name.lower()]
        if name not in there and len(alike) == 1:
            names[alike[0]] = name
    known = {*wanted, *(column for column, _ in needed)}
    for name in there:
        if in_capitals and names[name] == name.upper() and names[name] not in known and name.lower() not in there:
            names[name] = name.lower()
    check_columns(table, dict.fromkeys(names.values(), ""), needed)
    asked = {column for column, _ in needed}
    names = {name: new for name, new in names.items() if new in asked or not only_needed}
    _check_distinct(table, list(names.values()))
    return names


def _check_distinct(table: str, names: list[str]) -> None:
    """Refuse names that differ in capitals alone: the tables are read by a database that sees one in them."""
    for name in names:
        alike = [other for other in names if other.lower() == name.lower()]
        if len(alike) > 1:
            raise DataError(
                f"{table}: the columns {' and '.join(alike)} differ in capitals alone; name the columns in a query, "
                "SELECT ... AS ..."
            )
