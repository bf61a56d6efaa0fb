"""One version of a Delta or Iceberg table, whichever it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from workflows.core.disk import is_disk_full
from workflows.core.errors import CascadeError, DataError, SetupError
from workflows.core.extras import why_missing
from workflows.tables.visible import key_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Snapshot", "check_package", "plain", "told"]

MAX_REASON = 300


class Snapshot(Protocol):
    """What reading needs of a table.

    Attributes:
        version: an integer, of which "FOLDER@VERSION" is this snapshot.
        identity: with the version, tells this table from every other one that was or will be in its folder.
        columns: names of all of them.
    """

    version: int
    identity: str
    columns: list[str]

    def read(self, columns: Sequence[str]) -> pa.RecordBatchReader:
        """The rows, in no order."""
        ...


def check_package(table: str, folder: str, format: str, module: str) -> None:
    """Refuse a table whose package is not here.

    Raises:
        SetupError: names the extra, and the way without it.
    """
    if reason := why_missing(module, module, format.lower()):
        raise SetupError(f"{table}: {folder} is a table in {format} format; reading it {reason}, or {plain(table)}")


def plain(table: str) -> str:
    """The way out of every trouble with such a table."""
    return f"write its current rows as plain Parquet files and set {key_of(table)} to them"


@contextmanager
def told(table: str, folder: str, format: str) -> Iterator[None]:
    """Turn what a package raises, of whatever class, into one sentence.

    Raises:
        DataError: the body failed; but for a full disk, and for what only a bug raises.
    """
    try:
        yield
    except (CascadeError, TypeError, AttributeError, NameError):
        raise
    except Exception as error:
        if is_disk_full(error):
            raise
        lines = [" ".join(line.split()).rstrip(".:") for line in str(error).splitlines()]
        reason = next((line for line in lines if line), type(error).__name__)[:MAX_REASON]
        raise DataError(
            f"{table}: {folder} cannot be read as a table in {format} format ({reason}); {plain(table)}"
        ) from None
