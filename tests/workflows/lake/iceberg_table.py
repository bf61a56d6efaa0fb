"""Iceberg tables in folders, with the row-level deletes that other engines write beside the files of rows."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["add_deletes", "create", "deletes_of", "folder_of", "vector_of"]

PATH_FIELD = pa.field("file_path", pa.string(), nullable=False, metadata={"PARQUET:field_id": "2147483546"})
POS_FIELD = pa.field("pos", pa.int64(), nullable=False, metadata={"PARQUET:field_id": "2147483545"})


def create(folder: Path, schema: pa.Schema, **properties: str) -> Any:
    """A new table "shop.t" of a catalogue in a folder."""
    from pyiceberg.catalog.sql import SqlCatalog

    folder.mkdir()
    catalog = SqlCatalog("test", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}")
    catalog.create_namespace("shop")
    return catalog.create_table("shop.t", schema=schema, properties={"format-version": "2", **properties})


def folder_of(table: Any) -> Path:
    return Path(table.location().removeprefix("file://"))


def add_deletes(table: Any, *files: Any) -> Any:
    """Commit delete files as a merge-on-read engine does; the table afterwards."""
    from pyiceberg.io.pyarrow import PyArrowFileIO
    from pyiceberg.manifest import ManifestContent, ManifestEntry, ManifestEntryStatus, ManifestWriterV2
    from pyiceberg.table.update.snapshot import _FastAppendFiles

    class Writer(ManifestWriterV2):
        def content(self) -> ManifestContent:
            return ManifestContent.DELETES

        @property
        def _meta(self) -> dict[str, str]:
            return {**super()._meta, "content": "deletes"}

    class AddDeletes(_FastAppendFiles):
        def _manifests(self) -> list[Any]:
            path = folder_of(table) / "metadata" / f"deletes-{self.snapshot_id}.avro"
            output = PyArrowFileIO().new_output(str(path))
            with Writer(table.spec(), table.schema(), output, self.snapshot_id, "null") as writer:
                for file in files:
                    entry = {"status": ManifestEntryStatus.ADDED, "snapshot_id": self.snapshot_id, "data_file": file}
                    writer.add(ManifestEntry.from_args(**entry))
            return [writer.to_manifest_file(), *self._existing_manifests()]

    from pyiceberg.table.snapshots import Operation

    with table.transaction() as transaction:
        AddDeletes(Operation.APPEND, transaction, table.io).commit()
    return table.refresh()


def _file(path: Path, **fields: Any) -> Any:
    from pyiceberg.manifest import DataFile
    from pyiceberg.typedef import Record

    common = {"file_path": f"file://{path}", "partition": Record(), "file_size_in_bytes": path.stat().st_size}
    return DataFile.from_args(**common, **fields)


def deletes_of(table: Any, name: str, data_file: str, positions: Sequence[int], **fields: Any) -> Any:
    """A file of deleted positions of a data file; with `equality_ids`, one of values whose rows are deleted."""
    from pyiceberg.manifest import DataFileContent, FileFormat

    rows = pa.table({"file_path": [data_file] * len(positions), "pos": list(positions)})
    path = folder_of(table) / "data" / name
    pq.write_table(rows.cast(pa.schema([PATH_FIELD, POS_FIELD])), path)
    content = DataFileContent.EQUALITY_DELETES if fields else DataFileContent.POSITION_DELETES
    return _file(path, content=content, file_format=FileFormat.PARQUET, record_count=len(positions), **fields)


def vector_of(table: Any, name: str, data_file: str, positions: Sequence[int]) -> Any:
    """The same as a deletion vector of format version 3."""
    from pyiceberg.manifest import DataFileContent, FileFormat

    bitmap = struct.pack("<IIHHI", 12346, 1, 0, len(positions) - 1, 16)
    bitmap += struct.pack(f"<{len(positions)}H", *sorted(positions))
    vector = struct.pack("<I", 1681511377) + struct.pack("<QI", 1, 0) + bitmap
    blob = struct.pack(">I", len(vector)) + vector + struct.pack(">I", zlib.crc32(vector))
    said = {
        "type": "deletion-vector-v1",
        "fields": [2147483546],
        "snapshot-id": -1,
        "sequence-number": -1,
        "offset": 4,
        "length": len(blob),
        "properties": {"referenced-data-file": data_file, "cardinality": str(len(positions))},
    }
    footer = json.dumps({"blobs": [said], "properties": {}}).encode()
    path = folder_of(table) / "data" / name
    path.write_bytes(b"PFA1" + blob + b"PFA1" + footer + struct.pack("<iI", len(footer), 0) + b"PFA1")
    return _file(
        path,
        content=DataFileContent.POSITION_DELETES,
        file_format=FileFormat.PUFFIN,
        record_count=len(positions),
        referenced_data_file=data_file,
    )
