"""Which table holds the events, which the items and the users, and which columns are user, item and time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from workflows.core.errors import DataError
from workflows.init.entities import MIN_SHARE, Entity, best_entity, why_unused
from workflows.init.merged import together, with_user_of, with_whole_orders
from workflows.init.profile import Column, Table
from workflows.init.times import looks_like_dates, nearly_time
from workflows.init.words import ITEM, ITEM_TABLES, RATING, TIME, USER, USER_TABLES, rank, words_of

if TYPE_CHECKING:
    import duckdb

__all__ = ["Given", "Sketch", "sketch_of"]

NO_EVENTS = ("tag", "tags", "tagged", "taggedartists", "friend", "friends", "tree", "link", "links", "properties")
MAX_NULLS = 0.5
NUM_CHOICES = 4


class Given(msgspec.Struct, frozen=True):
    """What the person said of the columns; "" where nothing."""

    user: str = ""
    item: str = ""
    time: str = ""


class Sketch(msgspec.Struct):
    """What was found.

    Attributes:
        events: the events.
        user, item: their id columns.
        time: their instant, or None.
        items, users: what is known of both; None without such a table.
        unused: tables that are none of these, each with the reason.
        doubts: questions to the person, each with the line that answers it otherwise; "" where none does.
    """

    events: Table
    user: str
    item: str
    time: str | None
    items: Entity | None
    users: Entity | None
    unused: dict[str, str]
    doubts: list[tuple[str, str]]


def sketch_of(con: duckdb.DuckDBPyConnection, tables: Sequence[Table], given: Given) -> Sketch:
    """Find the parts.

    Args:
        con: the connection that has the rows that were looked at.
        tables: all of them.
        given: what the person said.

    Raises:
        DataError: no table has a user and an item, or tables do not join; one sentence with what was seen.
    """
    _check_given(tables, given)
    doubts: list[tuple[str, str]] = []
    events, used = _events(con, tables, given, doubts)
    events = with_whole_orders(con, events, [_chosen(events, USER, given.user), _time(events, given)])
    others = [table for table in tables if table.name not in used]
    user = _chosen(events, USER, given.user)
    choices = [given.item] if given.item else _choices(events, ITEM, but=[user])[:NUM_CHOICES]
    found = [best_entity(con, events, choice, others, ITEM, ITEM_TABLES) for choice in choices]
    fitting = [place for place, one in enumerate(found) if one and one.share >= MIN_SHARE]
    place = next(iter(fitting or [place for place, one in enumerate(found) if one]), 0)
    items = found[place]
    left = [table for table in others if items is None or table.name != items.table.name]
    users = best_entity(con, events, user, left, USER, USER_TABLES)
    _check_joined(events, choices[place], items)
    users = None if users and users.share < MIN_SHARE else users
    others = [table for table in left if users is None or table.name != users.table.name]
    unused = {table.name: why_unused(con, events, [user, choices[place]], table) for table in others}
    time = _time(events, given) or None
    if given.time and time and (words := _why_no_time(con, events, time)):
        raise DataError(f"--timestamp {time}: {words}; correct that, or name another column")
    doubts += [] if time else _broken_times(con, events)
    return Sketch(events, user, choices[place], time, items, users, unused, doubts)


def _check_given(tables: Sequence[Table], given: Given) -> None:
    """Refuse a column that no table has."""
    for option, name in (("--user-id", given.user), ("--item-id", given.item), ("--timestamp", given.time)):
        if name and not any(name in table.columns for table in tables):
            seen = "; ".join(f"{table.name}: {', '.join(table.columns)}" for table in tables)
            raise DataError(f"{option} {name}: expected a column of the tables, got {seen}; correct it")


def _events(
    con: duckdb.DuckDBPyConnection, tables: Sequence[Table], given: Given, doubts: list[tuple[str, str]]
) -> tuple[Table, list[str]]:
    """The events, and the names of the tables that they are made of."""
    fit = [table for table in tables if _chosen(table, USER, given.user) and _has_item(table, given)]
    logs = [table for table in fit if not _is_entity(table, given)] or (fit if len(tables) == 1 else [])
    if not logs and (found := with_user_of(con, tables, given.user, given.item)):
        return found
    if not logs:
        raise _no_events(tables, given)
    logs.sort(key=lambda table: _weight(table, given))
    best = logs[-1]
    names = {_chosen(best, USER, given.user), _choices(best, ITEM)[0] if not given.item else given.item}
    alike = [table for table in logs if names <= table.columns.keys() and _time(table, given) == _time(best, given)]
    if len(alike) > 1 and not any(rank(name, RATING) is not None for table in alike for name in table.columns):
        return together(con, alike), [table.name for table in alike]
    also = "has a user and an item in each row too: is it the events?"
    doubts += [(f"{table.name} {also} {best.name} was taken.", "") for table in logs[:-1]]
    return best, [best.name]


def _weight(table: Table, given: Given) -> tuple[bool, bool, int]:
    """The likeliest events are the heaviest."""
    return not set(words_of(table.name)) & set(NO_EVENTS), bool(_time(table, given)), table.num_rows


def _is_entity(table: Table, given: Given) -> bool:
    """Whether a table with a user and an item is rather one of items or users: it has a row for each."""
    user, choices = _chosen(table, USER, given.user), _choices(table, ITEM)
    item = given.item or choices[0]
    words = set(words_of(table.name))
    if table.is_key(item) and (words & set(ITEM_TABLES) or table.num_rows > 20):
        return True
    return table.is_key(user) and bool(words & set(USER_TABLES))


def _has_item(table: Table, given: Given) -> bool:
    if given.item:
        return given.item in table.columns
    user = _chosen(table, USER, given.user)
    return bool(_choices(table, ITEM, but=[user]))


def _chosen(table: Table, known: Sequence[str], given: str) -> str:
    """The likeliest column; "" where there is none."""
    if given:
        return given if given in table.columns else ""
    return next(iter(_choices(table, known)), "")


def _choices(table: Table, known: Sequence[str], but: Sequence[str] = ()) -> list[str]:
    """Columns that may be an id, the likeliest first; one that is often empty comes after the others."""
    found = []
    for name, column in table.columns.items():
        place = rank(name, known)
        if place is None or name in but or not _can_be_id(column):
            continue
        is_sparse = column.nulls > MAX_NULLS * table.num_looked
        found.append((is_sparse, place, name))
    return [name for _, _, name in sorted(found)]


def _can_be_id(column: Column) -> bool:
    if column.is_list or column.distinct < 1 or column.type == "BOOLEAN":
        return False
    if column.time and column.time.unit != "order" and column.is_text:
        return False
    return column.is_text or (column.is_number and _is_whole(column))


def _is_whole(column: Column) -> bool:
    return all(float(str(value)) == int(float(str(value))) for value, _ in column.top)


def _time(table: Table, given: Given) -> str:
    """The column of instants: by its name, and one with a time of day before one of days or of an order."""
    if given.time:
        return given.time if given.time in table.columns else ""
    found = []
    for name, column in table.columns.items():
        place = rank(name, TIME)
        if column.time and place is not None and column.nulls < table.num_looked:
            unit = column.time.unit
            found.append(({"order": 2, "date": 1}.get(unit, 0), column.nulls > 0, place, name))
        elif column.time and column.time.unit not in ("order",) and column.nulls == 0:
            found.append((3, False, 0, name))
    return min(found)[-1] if found else ""


def _why_no_time(con: duckdb.DuckDBPyConnection, events: Table, name: str) -> str:
    """Why a column that was named as the time cannot be it; "" where it can."""
    column = events.columns[name]
    if not column.distinct:
        return f"it is empty in all rows of {events.name}"
    if column.time or not (column.is_text or column.is_number):
        return ""
    words = nearly_time(con, events.looked, name, column.is_text)
    if words or column.is_number:
        return words
    return f"expected dates, timestamps or seconds since 1970, got such as {_example(events, name)}"


def _broken_times(con: duckdb.DuckDBPyConnection, events: Table) -> list[tuple[str, str]]:
    """A question for each column that would be the time but for some of its values."""
    named = {
        name: column
        for name, column in events.columns.items()
        if (column.is_text or column.is_number) and column.distinct and rank(name, TIME) is not None
    }
    broken = {name: nearly_time(con, events.looked, name, column.is_text) for name, column in named.items()}
    for name, column in events.columns.items():
        if not broken.get(name) and column.is_text and looks_like_dates(value for value, _ in column.top):
            broken[name] = f"its values, such as {_example(events, name)}, cannot be read: write them as 2024-01-31"
    advice = "Correct or empty them, and call this again; without a time, quality is measured on each user's last row"
    return [(f"is '{name}' the time? {words}. {advice}.", "") for name, words in broken.items() if words]


def _check_joined(events: Table, item: str, items: Entity | None) -> None:
    """Refuse tables that look like the events' items and share none of their ids."""
    if items and items.share < MIN_SHARE:
        raise DataError(
            f"{events.name} and {items.table.name} do not join: of the ids in {events.name}.{item} "
            f"{items.share:.0%} are in {items.table.name}.{items.key} (for example {_example(events, item)} against "
            f"{_example(items.table, items.key)}); give the tables that belong together, or write the ids alike"
        )


def _example(table: Table, column: str) -> str:
    top = table.columns[column].top
    return repr(top[0][0]) if top else "nothing"


def _no_events(tables: Sequence[Table], given: Given) -> DataError:
    have_user = [table for table in tables if _chosen(table, USER, given.user)]
    have_item = [table for table in tables if _has_item(table, given)]
    seen = "; ".join(f"{table.name} has {', '.join(list(table.columns)[:30])}" for table in tables[:5])
    if both := [table.name for table in have_user if table in have_item]:
        return DataError(
            f"expected a table of events, got none: each row of {both[0]} is of an item or user of its own, as in a "
            f"table about them; give the events too, or {both[0]} alone if it holds them"
        )
    if given.user and given.item:
        wanted = f"'{given.user}' (--user-id) and '{given.item}' (--item-id)"
        return DataError(f"expected a table with both {wanted}, got none: {seen}; name columns of the events")
    if given.user:
        lacking, option = f"item of each event beside its user '{given.user}'", "--item-id COLUMN"
    elif given.item:
        lacking, option = f"user of each event beside its item '{given.item}'", "--user-id COLUMN"
    elif have_user and have_item:
        lacking, option = "user and one with the item of each event in one table", "--user-id and --item-id"
    elif have_user:
        lacking, option = "item of each event", "--item-id COLUMN"
    else:
        lacking, option = "user of each event", "--user-id COLUMN"
        option += "" if have_item else ", and that of the item with --item-id COLUMN"
    return DataError(f"expected a column with the {lacking}, got none: {seen}; name it with {option}")
