"""The features stage on small tables of the contract's shape, against NVTabular and against numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflows.core.artefacts import Manifest, verify
from workflows.core.errors import ArtefactError, ConfigError, DataError
from workflows.core.quiet import quiet
from workflows.core.run import Run, run_stage
from workflows.features.config import FeaturesConfig
from workflows.features.encoders import Encoder, hash_bytes
from workflows.features.read import read_table
from workflows.features.schema import FeatureSchema
from workflows.features.stage import prepare_features

quiet()

U, N, L = 40, 30, 4
TRAIN_USERS, TRAIN_ITEMS = 32, 25  # later rows occur in valid and test only
CONFIG: dict[str, Any] = {
    "history_length": L,
    "users": {"age": {"kind": "categorical"}, "spend": {"kind": "continuous", "log": True}},
    "items": {
        "brand": {"kind": "categorical", "min_frequency": 2},
        "price": {"kind": "continuous"},
        "tags": {"kind": "list", "separator": "|", "max_length": 3},
        "codes": {"kind": "list", "max_length": 2},
        "sku": {"kind": "hashed", "num_buckets": 50},
        "year": {"kind": "bucketised", "boundaries": [1990, 2000.5]},
    },
    "context": {"device": {"kind": "categorical"}, "hour": {"kind": "bucketised", "boundaries": [6, 12, 18]}},
}


def config(**changes: Any) -> FeaturesConfig:
    return msgspec.convert(CONFIG | changes, FeaturesConfig)


def write_data(root: Path, *, string_ids: bool, seed: int = 3) -> Run:
    """A data/ folder as docs/ARTEFACTS.md states it."""
    rng = np.random.default_rng(seed)
    run = Run(root)
    kind = "string" if string_ids else "int64"

    def body(folder: Path) -> dict[str, Any]:
        (folder / "ids").mkdir()
        for name, count in (("users", U), ("items", N)):
            ids = np.sort(rng.choice(10**12, count, replace=False))
            np.save(folder / f"ids/{name}.npy", np.sort([f"{name}é{i}".encode() for i in ids]) if string_ids else ids)
        pq.write_table(_users(rng), folder / "users.parquet")
        pq.write_table(_items(rng), folder / "items.parquet", row_group_size=11)
        for split, rows, users, items in (
            ("train", 300, TRAIN_USERS, TRAIN_ITEMS),
            ("valid", 50, U, N),
            ("test", 0, U, N),
        ):
            (folder / split).mkdir()
            pq.write_table(_events(rng, rows, users, items), folder / split / "part_00000.parquet", row_group_size=64)
        return {"id_type": {"user": kind, "item": kind}, "labels": ["click"], "num_users": U, "num_items": N}

    data = {"user_id": "uid", "item_id": "sku_id", "labels": ["click"], "position": "place"}
    run_stage(run, "data", config={"data": data}, after=[], body=body)
    return run


def _users(rng: np.random.Generator) -> pa.Table:
    ages = [None if rng.random() < 0.2 else ["young", "old", ""][rng.integers(3)] for _ in range(U)]
    ages[-1] = "only in test"
    spend = [None if rng.random() < 0.2 else float(rng.gamma(2, 50)) for _ in range(U)]
    return pa.table({"uid": np.arange(U), "age": ages, "spend": spend})


def _items(rng: np.random.Generator) -> pa.Table:
    price = rng.normal(20, 5, N)
    price[TRAIN_ITEMS:] = 1e6
    return pa.table(
        {
            "sku_id": np.arange(N),
            "brand": pa.array([None if i == 3 else (2**60 + 1 if i == 7 else i % 4) for i in range(N)], pa.int64()),
            "price": pa.array(price, pa.float32()),
            "tags": [
                [None, "", "a|b", " a | c|", "d|a|b|c|e", "late"][5 if i >= TRAIN_ITEMS else i % 5] for i in range(N)
            ],
            "codes": pa.array([[None, [], [5, None, 6], [7] * 4][i % 4] for i in range(N)], pa.list_(pa.int32())),
            "sku": pa.array([None if i == 2 else f"sku-{i}" for i in range(N)]).dictionary_encode(),
            "year": pa.array([None if i == 1 else 1980 + i for i in range(N)], pa.int16()),
        }
    )


def _events(rng: np.random.Generator, rows: int, users: int, items: int) -> pa.Table:
    outside = -1 if items == N else 0
    return pa.table(
        {
            "user_row": pa.array(rng.permutation(np.arange(rows) % users), pa.int64()),
            "item_row": pa.array(
                np.maximum(rng.permutation(np.arange(rows) % items) - (rng.random(rows) < 0.1), outside)
            ),
            "at": pa.array(np.arange(rows) * 10**9, pa.int64()),
            "click": pa.array(rng.integers(0, 2, rows), pa.float32()),
            "place": pa.array(rng.integers(0, 10, rows), pa.int32()),
            "device": [[None, "phone", "web"][rng.integers(3)] for _ in range(rows)]
            if rows
            else pa.array([], pa.string()),
            "hour": pa.array(rng.integers(0, 24, rows), pa.int8()),
            "history": pa.array(
                [rng.integers(0, items, rng.integers(0, 2 * L)) for _ in range(rows)], pa.list_(pa.int64())
            ),
        }
    )


@pytest.fixture(scope="module", params=[False, True], ids=["int-ids", "string-ids"])
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Manifest]:
    run = write_data(tmp_path_factory.mktemp("run"), string_ids=request.param)
    return run, prepare_features(run, config())


def test_parts(prepared):
    run, _ = prepared
    for name in ("items", "users", "train", "valid", "test"):
        print(name, {k: (v.shape, v.dtype) for k, v in read_table(run.folder("features") / name).items()})
    print((run.folder("features") / "schema.json").read_text()[:500])
