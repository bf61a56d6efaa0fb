"""Why a CSV file cannot be read: the line, the column and what is wrong there."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from workflows.core.errors import DataError
from workflows.tables.csv_files import Dialect, csv_sql, open_bytes

if TYPE_CHECKING:
    import duckdb

__all__ = ["csv_error"]

MAX_SHOWN = 80
REJECTS = "reject_errors"


def csv_error(con: duckdb.DuckDBPyConnection, table: str, file: str, dialect: Dialect) -> DataError | None:
    """Read one file alone and say what is wrong with it; None where nothing is.

    Args:
        con: the connection.
        table: name for the message.
        file: path or URL.
        dialect: of the file.
    """
    import duckdb

    scan = csv_sql([(file, dialect)]).removesuffix(")")
    con.execute(f"DROP TABLE IF EXISTS {REJECTS}; DROP TABLE IF EXISTS reject_scans")
    try:
        con.execute(f"SELECT count(COLUMNS(*)) FROM {scan}, store_rejects = true, rejects_limit = 0)").fetchall()
        found = con.execute(
            f"SELECT error_type::VARCHAR, line, column_name, error_message, csv_line FROM {REJECTS} "
            "ORDER BY error_type::VARCHAR = 'INVALID ENCODING', line LIMIT 1"
        ).fetchall()
    except (duckdb.Error, OSError) as error:
        return DataError(f"{table}: {file} cannot be read as CSV ({_reason(table, file, error)}); write the file again")
    if not found:
        return None
    kind, line, column, message, text = found[0]
    count = con.execute(f"SELECT count(DISTINCT line) FROM {REJECTS} WHERE error_type::VARCHAR = ?", [kind]).fetchall()
    problem, remedy = _problem_and_remedy(str(kind), file, dialect, str(column), str(message), str(text))
    number, shown = int(line), _shown(str(text))
    if kind == "INVALID ENCODING":
        number, shown = _first_undecoded(table, file)
    return DataError(
        f"{table}: {file} cannot be read as CSV: line {number} ({shown}) {problem}{_others(int(count[0][0]))}; {remedy}"
    )


def _problem_and_remedy(
    kind: str, file: str, dialect: Dialect, column: str, message: str, text: str
) -> tuple[str, str]:
    """What is wrong with a line, and what to do."""
    if kind in ("TOO MANY COLUMNS", "MISSING COLUMNS"):
        found = len(next(csv.reader([text], delimiter=dialect.delimiter), []))
        problem = f"has {found} values, but the first line names {len(dialect.names)} columns"
        few = "fill or drop the lines" if found < len(dialect.names) else ""
        return problem, few or f"put values that hold {dialect.delimiter!r} in double quotes, or correct the lines"
    if kind == "UNQUOTED VALUE":
        problem = f"has a quote in column '{column}' that is not closed, or stands inside a quoted value"
        return problem, "double every quote inside a quoted value (a backslash before it does not help)"
    if kind == "INVALID ENCODING":
        problem = f"is not UTF-8 in column '{column}', perhaps Latin-1 or Windows-1252"
        return problem, f"convert it with: iconv -f WINDOWS-1252 -t UTF-8 {file}"
    return f"cannot be parsed ({message.splitlines()[0].rstrip('.')})", "correct the line"


def _others(count: int) -> str:
    return f", as do {count - 1:,} other lines" if count > 1 else ""


def _first_undecoded(table: str, file: str) -> tuple[int, str]:
    """Number and text of the first line that is not UTF-8, read as Windows-1252."""
    with open_bytes(table, file) as opened:
        for number, line in enumerate(opened, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number, _shown(line.decode("cp1252", errors="replace").rstrip("\r\n"))
    return 0, ""


def _reason(table: str, file: str, error: Exception) -> str:
    if "invalid state" in str(error):
        with open_bytes(table, file) as opened:
            kinds = {line.endswith(b"\r\n") for line in opened if line.endswith(b"\n")}
        if len(kinds) == 2:
            return "some lines end in a carriage return and a line feed, others in a line feed alone"
    printable = "".join(character for character in str(error) if character.isprintable() or character == "\n")
    lines = (line.strip().rstrip(".:") for line in printable.splitlines())
    return next((line for line in lines if line), type(error).__name__)


def _shown(text: str) -> str:
    return repr(text) if len(text) <= MAX_SHOWN else repr(text[:MAX_SHOWN]) + "..."
