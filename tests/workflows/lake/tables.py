"""The tables that the tests of Delta and Iceberg write, and data/ of them and of plain Parquet."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflows.core.artefacts import read_manifest
from workflows.core.errors import CascadeError, DataError
from workflows.core.run import Run
from workflows.shop.config import ShopConfig
from workflows.tables.config import DataConfig, SplitConfig
from workflows.tables.stage import prepare_data

__all__ = ["DATA", "ITEMS", "ROWS", "content", "failure", "from_parquet", "prepare"]

BIG = 2**53 + 1
START = datetime.datetime(2026, 3, 29, 2, 30, tzinfo=datetime.timezone.utc)
ROWS = pa.table(
    {
        "user_id": pa.array([BIG + i % 7 for i in range(200)], pa.int64()),
        "item_id": [f"{i % 11:03}" for i in range(200)],
        "at": pa.array([START + i * datetime.timedelta(minutes=37) for i in range(200)], pa.timestamp("us", "UTC")),
        "click": pa.array([i % 3 == 0 for i in range(200)]),
        "device": [None if i % 5 == 0 else "web" for i in range(200)],
        "shelf": pa.array([Decimal(i % 4) for i in range(200)], pa.decimal128(38, 0)),
        "note": [str(i) for i in range(200)],
    }
)
ITEMS = pa.table({"item_id": [f"{i:03}" for i in range(11)], "Brand": [None if i == 3 else f"b{i}" for i in range(11)]})
DATA = {"timestamp": "at", "labels": ["click"], "context": ["device", "shelf"]}


def prepare(root: Path, **data: Any) -> Path:
    prepare_data(Run(root), DataConfig(**{**DATA, **data}), SplitConfig(), ShopConfig(), 5)
    return root


def content(root: Path) -> dict[str, str]:
    """Checksum of each file of data/ but the config."""
    return {file.path: file.sha256 for file in read_manifest(root / "data").files if file.path != "config.json"}


def from_parquet(folder: Path, rows: pa.Table, **data: Any) -> dict[str, str]:
    """data/ of plain files."""
    folder.mkdir()
    at = rows.schema.get_field_index("shelf")
    rows = rows.set_column(at, "shelf", rows["shelf"].cast(pa.int64())) if at >= 0 else rows
    pq.write_table(rows, folder / "events.parquet")
    return content(prepare(folder / "run", events=str(folder / "events.parquet"), **data))


def failure(root: Path, kind: type[CascadeError] = DataError, **data: Any) -> str:
    with pytest.raises(kind) as caught:
        prepare(root, **data)
    assert not [path for path in root.rglob("*") if path.is_file()] if root.exists() else True
    assert "\n" not in str(caught.value)
    return str(caught.value)
