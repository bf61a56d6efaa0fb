"""Random examples to train on: 12 categorical and 4 continuous features, a history of 20, one click label."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.dataset.features import Batch, Events, Features
from models.ranking.groups import Group
from models.ranking.pairing import PairSource
from workflows.features.schema import HISTORY, ITEM_ID, USER_ID, Feature, FeatureSchema
from workflows.features.write import fixed_lists, write_part

__all__ = ["LABEL", "NoPairs", "feature_schema", "random_features", "random_group", "write_events"]

LABEL = "click"
HISTORY_LENGTH = 20
NUM_USERS = 10_000
FIRST_CODE = 3
CATEGORIES = {
    "user": {"age": 12, "city": 1_000, "segment": 50},
    "item": {"category": 50, "brand": 1_000, "seller": 5_000, "colour": 20},
    "context": {"device": 6, "hour": 27, "page": 100},
}
NUMBERS = {"user": ("spend", "visits"), "item": ("price", "stock")}


class NoPairs(PairSource):
    """No pair feature."""

    def __init__(self) -> None:
        self.names = []

    def compute(self, query: Batch, user_row: NDArray, item_rows: NDArray, at: NDArray) -> NDArray[np.float32]:
        """float32 [G, M, 0]."""
        return np.zeros((*item_rows.shape, 0), np.float32)


def feature_schema(num_items: int) -> FeatureSchema:
    """The features, with `num_items` known items."""
    ids = {USER_ID: ("user", NUM_USERS), ITEM_ID: ("item", num_items)}
    known = {name: Feature(name, side, "categorical", FIRST_CODE + n, 0, name) for name, (side, n) in ids.items()}  # type: ignore[arg-type]
    history = Feature(HISTORY, "history", "categorical", FIRST_CODE + num_items, HISTORY_LENGTH, ITEM_ID)
    found: list[Feature] = []
    for side, own in (("user", [known[USER_ID]]), ("item", [known[ITEM_ID]]), ("context", [])):
        found += own
        found += [Feature(n, side, "categorical", size, 0, n) for n, size in CATEGORIES[side].items()]  # type: ignore[arg-type]
        found += [Feature(n, side, "continuous", 0, 0, n) for n in NUMBERS.get(side, ())]  # type: ignore[arg-type]
    return FeatureSchema([*found, history], [LABEL], None, HISTORY_LENGTH)


def random_features(schema: FeatureSchema, rng: np.random.Generator) -> Features:
    """User and item features by row."""
    num_items = schema[ITEM_ID].cardinality - FIRST_CODE
    users = {f.name: _values(f, NUM_USERS, rng)[:, 0] for f in schema.side("user")}
    items = {f.name: _values(f, num_items, rng)[:, 0] for f in schema.side("item")}
    items[ITEM_ID] = np.arange(FIRST_CODE, FIRST_CODE + num_items, dtype=np.int32)
    return Features(schema, users, items)


def write_events(schema: FeatureSchema, folder: Path, num_rows: int, rng: np.random.Generator) -> Events:
    """Encoded events, as the features stage writes them."""
    features = schema.side("context", "history")
    drawn = {feature.name: _values(feature, num_rows, rng) for feature in features}
    columns: dict[str, Any] = {
        "user_row": pa.array(rng.integers(0, NUM_USERS, num_rows, np.int32)),
        "item_row": pa.array(rng.integers(0, schema[ITEM_ID].cardinality - FIRST_CODE, num_rows, np.int32)),
        "at": pa.array(np.arange(num_rows)),
        **{f.name: fixed_lists(drawn[f.name]) if f.length else pa.array(drawn[f.name][:, 0]) for f in features},
        LABEL: pa.array((rng.random(num_rows) < 0.1).astype(np.float32)),
    }
    write_part(folder, 0, columns, features)
    return Events(sorted(folder.glob("*.parquet")))


def random_group(schema: FeatureSchema, num_rows: int, rng: np.random.Generator) -> Group:
    """One batch of impressions."""
    return Group(
        query={f.name: _values(f, num_rows, rng) for f in schema.query},
        items={f.name: _values(f, num_rows, rng) for f in schema.side("item")},
        pair=np.zeros((num_rows, 1, 0), np.float32),
        labels=(rng.random((num_rows, 1)) < 0.1).astype(np.float32),
        mask=np.ones((num_rows, 1), bool),
    )


def _values(feature: Feature, num_rows: int, rng: np.random.Generator) -> NDArray:
    """int32 codes or float32 values, [n, 1] or [n, L]."""
    shape = (num_rows, max(feature.length, 1))
    if feature.kind == "continuous":
        return rng.standard_normal(shape, np.float32)
    return rng.integers(min(FIRST_CODE, feature.cardinality - 1), feature.cardinality, shape, np.int32)
