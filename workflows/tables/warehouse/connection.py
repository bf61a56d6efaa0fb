"""What reading needs of a warehouse, and how its errors are told."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from workflows.core.disk import is_disk_full
from workflows.core.errors import CascadeError, DataError, SetupError
from workflows.core.extras import why_missing
from workflows.tables.warehouse.address import Address

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Column", "Connection", "Rows", "check_driver", "told"]

DSN_PASSWORD = re.compile(r"(?i)\b(password|passcode|token|private_key\w*|passphrase)\s*=\s*('[^']*'|[^\s,;&]+)")
# What drivers put around what the server said: the query, the codes, the class of the error.
NOISE = re.compile(
    r"(?s)\n+Query was:.*|\.? Vendor code: .*|; reason: .*|^[A-Z_]+: (\[Snowflake\] )?|\b\d{6}( \(\w{5}\))?: "
    r"|\[libpq\] |\b\w+ \"https?://[^\"]*\": "
)
MAX_REASON = 300


class Column(NamedTuple):
    """How a column is read.

    Attributes:
        sql: reads it as a type of tables.
        is_decimal: whether it is a decimal number that comes as text.
    """

    sql: str
    is_decimal: bool = False


class Rows(msgspec.Struct, frozen=True):
    """Record batches as they come, all of one schema."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


class Connection(Protocol):
    """An open connection."""

    in_capitals: bool
    """Whether names that nobody put in quotes are kept in capitals."""
    draw: str
    """SQL of a number from 0 to 1 that chance draws for each row."""

    def columns(self, select: str) -> dict[str, Column]:
        """Look at the columns of a query without running it."""
        ...

    def read(self, select: str) -> Rows:
        """Run a query."""
        ...

    def quoted(self, name: str) -> str:
        """A name as an identifier."""
        ...

    def close(self) -> None:
        """Let the server go."""
        ...


def check_driver(module: str, distribution: str, extra: str) -> None:
    """Refuse a warehouse whose driver is not here.

    Raises:
        SetupError: names the extra.
    """
    if reason := why_missing(module, distribution, extra):
        raise SetupError(f"data.source: reading {extra} {reason}")


@contextmanager
def told(what: str, address: Address, remedy: Callable[[Exception], str]) -> Iterator[None]:
    """Turn what a driver raises, of whatever class, into one sentence: its own words may hold the URL.

    Args:
        what: the table, or data.source.
        address: of the warehouse.
        remedy: from an error to what a person can do; "" where nothing particular is known.

    Raises:
        DataError: the body failed; but for a full disk, and for what only a bug raises.
    """
    try:
        yield
    except (CascadeError, TypeError, AttributeError, NameError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and is_disk_full(error):
            raise
        way_out = remedy(error) or "check data.source and the query"
        raise DataError(f"{what}: {address.shown}: {_reason(error, address)}; {way_out}") from None


def _reason(error: Exception, address: Address) -> str:
    """The first line of an error that says something, without secrets and without the query."""
    text = NOISE.sub("", DSN_PASSWORD.sub(r"\1=***", address.scrubbed(str(error))))
    lines = [" ".join(line.split()).rstrip(".:") for line in text.splitlines()]
    lines = [line for line in lines if line] or [type(error).__name__]
    said = next((line for line in lines if re.search(r"ERROR:|FATAL:|error:", line)), lines[0])
    said = re.sub(r"^.*?(?:ERROR|FATAL): *", "", said)
    return said if len(said) <= MAX_REASON else f"{said[:MAX_REASON]}..."
