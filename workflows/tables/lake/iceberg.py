"""Iceberg tables, by the package pyiceberg, from the files alone: no catalogue is asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflows.core.errors import DataError
from workflows.tables.lake.snapshot import check_package, plain
from workflows.tables.visible import key_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["IcebergSnapshot", "open_iceberg"]

NUMBER = re.compile(r"v?(\d+)[.-].*metadata\.json")


def open_iceberg(table: str, folder: str, version: int | None) -> IcebergSnapshot:
    """Look at a snapshot of a table; the current one for None.

    Raises:
        SetupError: the package is not installed.
        DataError: there is no such snapshot, or none at all.
    """
    check_package(table, folder, "Iceberg", "pyiceberg")
    from pyiceberg.table import StaticTable

    found = StaticTable.from_metadata(str(current_metadata(table, Path(folder).resolve() / "metadata")))
    snapshots = [snapshot.snapshot_id for snapshot in found.metadata.snapshots]
    chosen = found.metadata.current_snapshot_id if version is None else version
    if chosen is None:
        raise DataError(f"{table}: expected at least one row, got none in {folder}, which has no snapshot yet")
    if chosen not in snapshots:
        raise DataError(
            f"{table}: {folder} has the snapshots {', '.join(map(str, snapshots))}, got @{chosen}; correct "
            f"{key_of(table)}"
        )
    # A column that was renamed since has its new name in what is current, and its old one in a snapshot by its number.
    scan = found.scan() if version is None else found.scan(snapshot_id=version)
    return IcebergSnapshot(scan, str(found.metadata.table_uuid), chosen)


def current_metadata(table: str, folder: Path) -> Path:
    """The metadata file of the highest number, as no catalogue is asked.

    Raises:
        DataError: two have that number, of which the catalogue has taken one.
    """
    files = [(int(match[1]), path) for path in sorted(folder.iterdir()) if (match := NUMBER.fullmatch(path.name))]
    highest = max(number for number, _ in files)
    newest = [path for number, path in files if number == highest]
    if len(newest) > 1:
        names = " and ".join(path.name for path in newest)
        raise DataError(
            f"{table}: expected one newest metadata file in {folder}, got {names}, of which only the table's catalogue "
            f"knows the right one; {plain(table)}"
        )
    return newest[0]


class IcebergSnapshot:
    """See `workflows.tables.lake.snapshot.Snapshot`."""

    def __init__(self, scan: Any, table_id: str, version: int) -> None:
        self._scan, schema = scan, scan.projection()
        self.version = version
        self.identity = f"{table_id} {schema.schema_id}"
        self.columns = [field.name for field in schema.fields]

    def read(self, columns: Sequence[str]) -> pa.RecordBatchReader:
        """As in `Snapshot`."""
        return self._scan.select(*columns).to_arrow_batch_reader()
