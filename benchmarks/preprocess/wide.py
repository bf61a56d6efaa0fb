"""A wide table of events: 12 categorical and 4 continuous context columns, skewed, with nulls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflows.core.run import Run, run_stage
from workflows.features.config import FeaturesConfig, FeatureSpec
from workflows.tables.info import DataInfo

__all__ = ["CATEGORICAL", "CONTINUOUS", "write_wide"]

CARDINALITIES = (10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300, 3_000, 30_000)
CATEGORICAL = [f"category_{number}" for number in range(len(CARDINALITIES))]
CONTINUOUS = {f"number_{number}": number % 2 == 1 for number in range(4)}  # name -> whether a logarithm is taken
NULL_SHARE = 0.03
SKEW = 2.5
NUM_ROWS_BY_SIDE = 1_000
ROW_GROUP = 122_880


def write_wide(run: Run, num_rows: int, seed: int = 1) -> FeaturesConfig:
    """Write the data/ folder of such a table, all of it training events.

    Args:
        run: where to.
        num_rows: events.
        seed: of the draw.

    Returns:
        The [features] section that encodes it.
    """
    rng = np.random.default_rng(seed)
    ids = np.arange(NUM_ROWS_BY_SIDE)

    def body(folder: Path) -> DataInfo:
        (folder / "ids").mkdir()
        for side in ("user", "item"):
            np.save(folder / "ids" / f"{side}s.npy", ids)
            pq.write_table(pa.table({f"{side}_id": ids}), folder / f"{side}s.parquet")
        events = _events(rng, num_rows)
        for split, table in (("train", events), ("valid", events.slice(0, 0)), ("test", events.slice(0, 0))):
            (folder / split).mkdir()
            pq.write_table(table, folder / split / "part_00000.parquet", row_group_size=ROW_GROUP)
        return DataInfo(
            num_items=NUM_ROWS_BY_SIDE,
            num_users=NUM_ROWS_BY_SIDE,
            id_type={"item": "int64", "user": "int64"},
            rows={"train": num_rows, "valid": 0, "test": 0},
            history_length=0,
            has_timestamp=False,
            timestamp_unit="rows",
            labels=("click",),
            num_dropped=0,
        )

    data = {"user_id": "user_id", "item_id": "item_id", "labels": ["click"]}
    run_stage(run, "data", config={"data": data}, after=[], body=body, inputs={"num_rows": num_rows, "seed": seed})
    numbers = {name: FeatureSpec(kind="continuous", log=log) for name, log in CONTINUOUS.items()}
    return FeaturesConfig(context={name: FeatureSpec() for name in CATEGORICAL} | numbers, history_length=1)


def _events(rng: np.random.Generator, num_rows: int) -> pa.Table:
    columns: dict[str, Any] = {
        "user_row": rng.integers(0, NUM_ROWS_BY_SIDE, num_rows),
        "item_row": rng.integers(0, NUM_ROWS_BY_SIDE, num_rows),
        "at": np.arange(num_rows),
        "click": rng.integers(0, 2, num_rows).astype(np.float32),
    }
    for number, (name, cardinality) in enumerate(zip(CATEGORICAL, CARDINALITIES, strict=True)):
        columns[name] = _categorical(rng, num_rows, cardinality, text=number % 2 == 0)
    for name in CONTINUOUS:
        columns[name] = pa.array(rng.gamma(2.0, 50.0, num_rows), mask=rng.random(num_rows) < NULL_SHARE)
    empty = pa.ListArray.from_arrays(pa.array(np.zeros(num_rows + 1, np.int32)), pa.array([], pa.int64()))
    return pa.table(columns | {"history": empty})


def _categorical(rng: np.random.Generator, num_rows: int, cardinality: int, *, text: bool) -> pa.Array:
    """Values of which a few are frequent: int64, or strings."""
    values = rng.permutation(10 * cardinality)[:cardinality]
    drawn = (cardinality * rng.random(num_rows) ** SKEW).astype(np.int64)
    nulls = rng.random(num_rows) < NULL_SHARE
    if not text:
        return pa.array(values[drawn], mask=nulls)
    texts = pa.array([f"value-{value}" for value in values.tolist()])
    return pc.if_else(pa.array(nulls), pa.scalar(None, pa.string()), texts.take(pa.array(drawn)))
