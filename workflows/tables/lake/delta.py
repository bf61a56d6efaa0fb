"""Delta tables, by the package deltalake: its query engine reads deletion vectors and renamed columns too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from workflows.core.errors import DataError
from workflows.tables.lake.snapshot import check_package
from workflows.tables.source import quoted
from workflows.tables.visible import key_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["DeltaSnapshot", "open_delta"]


def open_delta(table: str, folder: str, version: int | None) -> DeltaSnapshot:
    """Look at a version of a table; the newest one for None.

    Raises:
        SetupError: the package is not installed.
        DataError: there is no such version.
    """
    check_package(table, folder, "Delta", "deltalake")
    from deltalake import DeltaTable

    newest = DeltaTable(folder)
    if version is None or version == newest.version():
        return DeltaSnapshot(newest)
    if version > newest.version():
        raise DataError(
            f"{table}: {folder} has versions up to {newest.version()}, got @{version}; correct {key_of(table)}"
        )
    return DeltaSnapshot(DeltaTable(folder, version=version))


class DeltaSnapshot:
    """See `workflows.tables.lake.snapshot.Snapshot`."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self.version: int = table.version()
        self.identity = str(table.metadata().id)
        self.columns = [field.name for field in table.schema().fields]

    def read(self, columns: Sequence[str]) -> pa.RecordBatchReader:
        """As in `Snapshot`."""
        import pyarrow as pa
        from deltalake import QueryBuilder

        rows = QueryBuilder().register("t", self._table).execute(f"SELECT {', '.join(map(quoted, columns))} FROM t")
        return pa.RecordBatchReader.from_stream(rows)
