"""Events with a context column of every type and kind through the real features stage, and the first step over them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ensemble.export.compile import CONTEXT_DTYPES
from runtime.encoders import Encoder
from runtime.index.settings import Settings
from runtime.ranker.spec import RankerSpec
from runtime.spec import ChainSpec, Tensor
from tests.workflows.infos import data_info
from workflows.core.run import Run, run_stage
from workflows.features.config import FeaturesConfig
from workflows.features.schema import FeatureSchema
from workflows.features.stage import prepare_features
from workflows.tables.info import DataInfo

__all__ = ["COLUMNS", "NUM_USERS", "first_step", "make_data", "make_features", "raw_columns"]

NUM_USERS, NUM_ITEMS = 4, 5
TENTHS = [n / 10 for n in range(11)]
CUTS: dict[str, Any] = {"kind": "bucketised", "boundaries": [0.1, 0.3, 0.6, 0.7, 0.9]}
BIG = 2**53 + 1
# Doubles of seventeen digits, and what comes right below each.
LONG = sorted(float(x) for x in np.random.default_rng(1).normal(size=12) * 10.0 ** np.arange(-30, 30, 5))
CODE: dict[str, Any] = {"kind": "categorical"}
HASHED: dict[str, Any] = {"kind": "hashed", "num_buckets": 97}

# Column -> its Arrow type, how it becomes a feature, its values. Every one also holds a null.
COLUMNS: dict[str, tuple[pa.DataType, dict[str, Any], Sequence[Any]]] = {
    "cut_double": (pa.float64(), CUTS, [*TENTHS, float("nan"), float("inf"), 1e300, -1e-300]),
    "cut_long": (
        pa.float64(),
        {**CUTS, "boundaries": LONG},
        [*LONG, *(float(np.nextafter(x, -np.inf)) for x in LONG)],
    ),
    "cut_single": (pa.float32(), CUTS, [float(np.float32(value)) for value in TENTHS]),
    "cut_decimal": (pa.decimal128(6, 4), CUTS, [Decimal(n).scaleb(-4) for n in (999, 1000, 3000, 6000, 7000, 9000)]),
    "cut_whole": (pa.int16(), {**CUTS, "boundaries": [-1, 2, 5.5]}, range(-3, 8)),
    "cut_large": (pa.int64(), {**CUTS, "boundaries": [2.0**53, 2.0**62]}, [2**53 - 1, BIG, 2**62 + 1, 2**63 - 1]),
    "code_in_floats": (pa.float64(), CODE, [1_234_567_891.0 + n for n in range(6)]),
    "code_in_decimals": (pa.decimal128(20, 2), CODE, [Decimal(BIG + n) for n in range(4)]),
    "code_whole": (pa.int64(), CODE, [BIG, BIG + 1, -1, 0, 2**63 - 1, -(2**63)]),
    "code_unsigned": (pa.uint32(), CODE, [0, 2**32 - 1]),
    "code_boolean": (pa.bool_(), CODE, [True, False]),
    "code_text": (
        pa.string(),
        CODE,
        ["", " ", "nan", "NULL", "007", "7", "é", "e\u0301", "\U0001f600", "a\nb", "x" * 300],
    ),
    "code_dictionary": (pa.dictionary(pa.int32(), pa.string()), CODE, ["", "phone", "web"]),
    "hashed_text": (pa.string(), HASHED, ["", "a", "веб"]),
    "hashed_whole": (pa.int64(), HASHED, [BIG, BIG + 1, -5]),
    "hashed_in_floats": (pa.float64(), HASHED, [3_000_000_001.0, -7.0]),
    "number_double": (pa.float64(), {"kind": "continuous"}, [0.1, -2.5, 1e6]),
    "number_single": (pa.float32(), {"kind": "continuous", "log": True}, [0.5, 3.0, -2.0]),
    "number_whole": (pa.int32(), {"kind": "continuous", "log": True}, [0, 7, 100, -1]),
    "number_boolean": (pa.bool_(), {"kind": "continuous"}, [True, False]),
    "number_decimal": (pa.decimal128(12, 3), {"kind": "continuous"}, [Decimal("1234.567"), Decimal("-0.125")]),
}
NUM_ROWS = 40


def raw_columns() -> dict[str, list[Any]]:
    """Column -> NUM_ROWS values as Python has them, each value and null among the first rows."""
    return {
        name: [([*values, None] * NUM_ROWS)[n] for n in range(NUM_ROWS)] for name, (_, _, values) in COLUMNS.items()
    }


def make_data(root: Path) -> Run:
    """data/ of a run with these events in train, and none elsewhere."""
    run = Run(root)

    def body(folder: Path) -> DataInfo:
        (folder / "ids").mkdir()
        for side, count in (("users", NUM_USERS), ("items", NUM_ITEMS)):
            np.save(folder / f"ids/{side}.npy", np.arange(count))
            pq.write_table(pa.table({"id": np.arange(count)}), folder / f"{side}.parquet")
        rows = np.arange(NUM_ROWS)
        events = {"user_row": rows % NUM_USERS, "item_row": rows % NUM_ITEMS, "at": rows}
        context = {name: pa.array(values, COLUMNS[name][0]) for name, values in raw_columns().items()}
        table = pa.table({**events, **context, "history": pa.array([[]] * NUM_ROWS, pa.list_(pa.int64()))})
        for split in ("train", "valid", "test"):
            (folder / split).mkdir()
            pq.write_table(table if split == "train" else table.slice(0, 0), folder / split / "part_00000.parquet")
        return data_info(NUM_USERS, NUM_ITEMS)

    run_stage(run, "data", config={"data": {"user_id": "id", "item_id": "id"}}, after=[], body=body)
    return run


def make_features(run: Run) -> FeatureSchema:
    """features/ of the run."""
    specs = {name: spec for name, (_, spec, _) in COLUMNS.items()}
    prepare_features(run, msgspec.convert({"context": specs, "history_length": 2}, FeaturesConfig))
    return FeatureSchema.load(run.folder("features") / "schema.json")


def first_step(run: Run, schema: FeatureSchema, folder: Path) -> ChainSpec:
    """What the step that encodes requests opens, in `folder`."""
    from ensemble.export.compile import _tensor
    from ensemble.export.files import place

    records = Encoder.load(run.folder("features") / "encoders", "context").features
    spec = ChainSpec(
        num_items=NUM_ITEMS,
        num_users=NUM_USERS,
        item_id_dtype="INT64",
        user_id_dtype="INT64",
        history_length=2,
        embedding_dim=2,
        num_candidates=2,
        slate_size=2,
        max_slate_size=2,
        max_batch_size=64,
        num_instances=1,
        max_list_length=9,
        filter_seen=True,
        user_features=(Tensor("user_id", "INT32"),),
        context_features=tuple(map(_tensor, schema.side("context"))),
        history_feature="recent_item_ids",
        context_columns=tuple(Tensor(r["column"], CONTEXT_DTYPES[r["dtype"]], optional=True) for r in records),
        tower_inputs=(),
        index=Settings(),
        recency_boost=1.0,
        recency_decay=1.0,
        sources=(),
        fallback="",
        ranker=RankerSpec(factored=False),
    )
    for name, values in {
        "ids/users": np.arange(NUM_USERS),
        "ids/items": np.arange(NUM_ITEMS),
        "state/history": np.full((NUM_USERS, 2), -1, np.int32),
        "items/item_id": np.arange(NUM_ITEMS, dtype=np.int32),
        "users/user_id": np.arange(NUM_USERS, dtype=np.int32),
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{name}.npy", values)
    place(run.folder("features") / "encoders", folder / "encoders")
    spec.save(folder)
    return spec
