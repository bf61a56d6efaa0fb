"""What the columns of a table hold, seen in a sample of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from workflows.init.opening import Opened, read_error
from workflows.init.times import Time, time_of
from workflows.init.words import ITEM, PRICE, RATING, USER, has_word, rank
from workflows.tables.check import FLOATS, INTEGERS, columns_of
from workflows.tables.csv_types import Role, Settled, Use, settle
from workflows.tables.source import quoted

if TYPE_CHECKING:
    import duckdb

__all__ = ["Column", "Table", "look", "typed", "with_types"]

WHOLE_BYTES = 100 << 20  # of files up to which every row is looked at
NUM_LOOKED = 500_000
NUM_TOP = 12
WHOLE = "-?(0|[1-9][0-9]{0,17})([.]0)?"  # integers that were floats beside gaps, when pandas wrote them
COMMA_NUMBER = "[+-]?[0-9]+([.][0-9]{3})*,[0-9]"  # and then how many decimals


class Column(msgspec.Struct):
    """One column, as the rows that were looked at have it.

    Attributes:
        name: of the column.
        type: DuckDB's; of a text, what its values are.
        distinct: values other than null.
        nulls: rows without a value.
        low, high: the smallest and largest value.
        top: the most frequent values with their counts, most frequent first.
        length: mean number of characters of a text.
        time: the instants that it may hold.
        written: how its numbers are written, where no config reads them so; else "".
    """

    name: str
    type: str
    distinct: int
    nulls: int
    low: object
    high: object
    top: list[tuple[object, int]]
    length: float
    time: Time | None = None
    written: str = ""

    @property
    def is_number(self) -> bool:
        """Whether it holds integers or floats."""
        return self.type in INTEGERS | FLOATS or self.type.startswith(("DECIMAL", "HUGEINT"))

    @property
    def is_text(self) -> bool:
        """Whether it holds text."""
        return self.type == "VARCHAR" or self.type.startswith("ENUM")

    @property
    def is_list(self) -> bool:
        """Whether each value is a list."""
        return self.type.endswith("[]")


class Table(msgspec.Struct):
    """One table and its columns.

    Attributes:
        opened: its files.
        sql: all its rows, as a relation whose texts have the types that the looked-at rows have.
        looked: name of the DuckDB table with the rows that were looked at.
        num_looked: how many these are.
        num_rows: how many there are.
        columns: name -> column.
    """

    opened: Opened
    sql: str
    looked: str
    num_looked: int
    num_rows: int
    columns: dict[str, Column]

    @property
    def is_whole(self) -> bool:
        """Whether every row was looked at."""
        return self.num_looked == self.num_rows

    @property
    def held(self) -> float:
        """The share of its rows that `sql` has: less than 1 of a warehouse's sample alone."""
        return self.num_looked / self.num_rows if self.opened.stored else 1.0

    @property
    def name(self) -> str:
        """For the messages."""
        return self.opened.name

    def is_key(self, column: str) -> bool:
        """Whether each row has a value of its own there."""
        found = self.columns[column]
        return found.nulls == 0 and found.distinct == self.num_looked


def look(con: duckdb.DuckDBPyConnection, opened: Opened, number: int) -> Table:
    """Count what the columns hold.

    Args:
        con: the connection, in the zone UTC.
        opened: the table.
        number: makes the name of the rows that are looked at.

    Raises:
        DataError: a row cannot be read.
    """
    import duckdb

    looked = f"looked_{number}"
    try:
        size = sum(Path(file).stat().st_size * (6 if file.endswith(".gz") else 1) for file in opened.files)
        num_rows = int(con.execute(f"SELECT count(*) FROM {opened.sql}").fetchall()[0][0])
        is_whole = opened.stored is not None or size <= WHOLE_BYTES or num_rows <= NUM_LOOKED
        sample = "" if is_whole else f" USING SAMPLE {100 * NUM_LOOKED / num_rows:.4f} PERCENT (system, 1)"
        con.execute(f"CREATE TABLE {looked} AS SELECT * FROM {opened.sql}{sample}")
        kinds = typed(con, looked) if opened.is_text else {}
        con.execute(f"CREATE OR REPLACE TABLE {looked} AS SELECT * FROM {with_types(looked, kinds)}")
        num_looked = int(con.execute(f"SELECT count(*) FROM {looked}").fetchall()[0][0])
        columns = {name: _column(con, looked, name, kind) for name, kind in columns_of(con, looked).items()}
        for name, one in kinds.items():
            columns[name].written = {_comma_sql(name): "with a decimal comma", _whole_sql(name): "as 17.0"}.get(
                one.sql, ""
            )
    except duckdb.Error as error:
        raise read_error(opened.name, error) from None
    num_rows = opened.stored.num_rows if opened.stored else num_rows
    return Table(opened, with_types(opened.sql, kinds), looked, num_looked, num_rows, columns)


def typed(con: duckdb.DuckDBPyConnection, relation: str, roles: Mapping[str, Role] = {}) -> dict[str, Settled]:
    """What the texts of a relation are, column by column; dates stay text unless a role says timestamp.

    What is called like an id is an integer or stays as it is written: "1.50" and "1.5" are two of them.

    Args:
        con: the connection.
        relation: the rows, all of which are looked at.
        roles: column -> what it is read for, where that is more than what it holds.
    """
    names = [name for name, kind in columns_of(con, relation).items() if kind == "VARCHAR"]
    uses = [Use(name, roles.get(name, _role(name)), "") for name in names]
    settled = {
        name: one if isinstance(one, Settled) else Settled("VARCHAR", quoted(name))
        for name, one in zip(names, settle(con, relation, uses), strict=True)
    }
    texts = [use.column for use in uses if use.role == "any" and settled[use.column].type == "VARCHAR"]
    ids = [use.column for use in uses if use.role == "id" and settled[use.column].type == "VARCHAR"]
    commas = {name: Settled("DOUBLE", _comma_sql(name)) for name in _decimal_commas(con, relation, texts)}
    return (
        settled | commas | {name: Settled("BIGINT", _whole_sql(name)) for name in _all_like(con, relation, ids, WHOLE)}
    )


def _all_like(con: duckdb.DuckDBPyConnection, relation: str, names: Sequence[str], *patterns: str) -> list[str]:
    """The columns of texts of which every value fits a pattern: one of all, or one a column."""
    if not names:
        return []
    each = patterns if len(patterns) == len(names) else patterns * len(names)
    tests = ", ".join(
        f"count({quoted(name)}) > 0 AND bool_and(regexp_full_match({quoted(name)}, '{pattern}'))"
        for name, pattern in zip(names, each, strict=True)
    )
    found = con.execute(f"SELECT {tests} FROM {relation}").fetchall()[0]
    return [name for name, fits in zip(names, found, strict=True) if fits]


def _decimal_commas(con: duckdb.DuckDBPyConnection, relation: str, names: Sequence[str]) -> list[str]:
    """The columns of texts whose values are all numbers with a decimal comma.

    Two decimals tell that, which a list of two codes seldom has in every row; other numbers of them need the name of
    an amount or a rating.
    """
    decimals = ["{1,9}" if has_word(name, (*PRICE, *RATING)) else "{2}" for name in names]
    return _all_like(con, relation, names, *(COMMA_NUMBER + digits for digits in decimals))


def _whole_sql(name: str) -> str:
    return f"TRY_CAST(replace({quoted(name)}, '.0', '') AS BIGINT)"


def _comma_sql(name: str) -> str:
    return f"TRY_CAST(replace(replace({quoted(name)}, '.', ''), ',', '.') AS DOUBLE)"


def _role(name: str) -> Role:
    return "any" if rank(name, USER) is None and rank(name, ITEM) is None else "id"


def with_types(relation: str, kinds: Mapping[str, Settled]) -> str:
    """The relation with columns cast to what they are."""
    replaced = ", ".join(f"{one.sql} AS {quoted(name)}" for name, one in kinds.items() if one.type != "VARCHAR")
    return f"(SELECT * REPLACE ({replaced}) FROM {relation})" if replaced else relation


def _column(con: duckdb.DuckDBPyConnection, looked: str, name: str, kind: str) -> Column:
    column, is_list = quoted(name), kind.endswith("[]")
    ends = "NULL, NULL" if is_list else f"min({column}), max({column})"
    length = f"avg(length({column}))" if kind == "VARCHAR" else "0"
    count, valued, distinct, low, high, mean = con.execute(
        f"SELECT count(*), count({column}), count(DISTINCT {column}), {ends}, {length} FROM {looked}"
    ).fetchall()[0]
    top = con.execute(
        f"SELECT {column}, count(*) FROM {looked} WHERE {column} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 "
        f"LIMIT {NUM_TOP}"
    ).fetchall()
    found = Column(name, kind, int(distinct), int(count - valued), low, high, top, float(mean or 0.0))
    found.time = time_of(con, looked, name, kind, low, high) if valued and not is_list else None
    return found
