"""Delta tables written by hand: a JSON line for every action, Parquet for the rows."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["add", "begin", "commit", "remove"]

TYPES = {"int64": "long", "string": "string", "timestamp[us, tz=UTC]": "timestamp", "int8": "byte", "bool": "boolean"}
PYTHON_85 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
DELTA_85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


def begin(
    schema: pa.Schema,
    *,
    partitions: Sequence[str] = (),
    renamed: Mapping[str, str] | None = None,
    deletes: bool = False,
    identity: str = "1",
) -> list[dict[str, Any]]:
    """The actions that make a table.

    Args:
        schema: of it.
        partitions: columns that are in no file.
        renamed: column -> what the files call it.
        deletes: whether files may have deletion vectors.
        identity: the id of the table.
    """
    names = dict(enumerate(schema.names, start=1))
    fields = [
        {
            "name": name,
            "type": _type(schema.field(name).type),
            "nullable": True,
            "metadata": {"delta.columnMapping.id": number, "delta.columnMapping.physicalName": renamed[name]}
            if renamed
            else {},
        }
        for number, name in names.items()
    ]
    features = (["columnMapping"] if renamed else []) + (["deletionVectors"] if deletes else [])
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features}
    mapping = {"delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": str(len(names))}
    metadata = {
        "id": f"00000000-0000-0000-0000-{identity:>012}",
        "format": {"provider": "parquet", "options": {}},
        "schemaString": json.dumps({"type": "struct", "fields": fields}),
        "partitionColumns": list(partitions),
        "configuration": mapping if renamed else {},
        "createdTime": 0,
    }
    return [{"protocol": protocol}, {"metaData": metadata}]


def _type(kind: pa.DataType) -> str:
    return f"decimal({kind.precision},{kind.scale})" if pa.types.is_decimal(kind) else TYPES[str(kind)]


def add(
    folder: Path, name: str, rows: pa.Table, deleted: Sequence[int] = (), **partition: str | None
) -> dict[str, Any]:
    """Write a file of rows; the action that adds it."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, folder / name)
    action = {
        "path": name,
        "partitionValues": partition,
        "size": (folder / name).stat().st_size,
        "modificationTime": 0,
        "dataChange": True,
        "stats": json.dumps({"numRecords": len(rows)}),
    }
    return {"add": action | ({"deletionVector": _deletion_vector(deleted)} if deleted else {})}


def _deletion_vector(rows: Sequence[int]) -> dict[str, Any]:
    """The rows of a file that count no longer, as a roaring bitmap within the log."""
    bitmap = struct.pack("<IIHHI", 12346, 1, 0, len(rows) - 1, 16) + struct.pack(f"<{len(rows)}H", *sorted(rows))
    data = struct.pack("<iqi", 1681511377, 1, 0) + bitmap
    padded = data + b"\0" * (-len(data) % 4)
    text = base64.b85encode(padded).decode().translate(str.maketrans(PYTHON_85, DELTA_85))
    return {"storageType": "i", "pathOrInlineDv": text, "sizeInBytes": len(data), "cardinality": len(rows)}


def remove(added: dict[str, Any]) -> dict[str, Any]:
    """The action that takes away what another one has added, with its deletion vector."""
    gone = {name: value for name, value in added["add"].items() if name in ("path", "deletionVector")}
    return {"remove": gone | {"deletionTimestamp": 1, "dataChange": True}}


def commit(folder: Path, version: int, *actions: dict[str, Any]) -> None:
    """Write the actions of a version."""
    (folder / "_delta_log").mkdir(parents=True, exist_ok=True)
    (folder / "_delta_log" / f"{version:020}.json").write_text("\n".join(map(json.dumps, actions)))
