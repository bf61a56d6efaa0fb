"""Run directories whose right answer is known, written by the contract.

On the checkerboard users only have items of their own parity, in no order. On the ring they walk from item to item, one
step at a time, half of them in each direction.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.workflows.infos import data_info
from workflows.core.artefacts import Manifest, write_manifest
from workflows.core.run import Run
from workflows.features.schema import Feature, FeatureSchema

NUM_USERS, NUM_ITEMS, LENGTH = 40, 24, 6
NUM_WALKS = 400
SCHEMA = FeatureSchema(
    features=[
        Feature("user_id", "user", "categorical", NUM_WALKS + 3, 0, "user_id"),
        Feature("age", "user", "continuous", 0, 0, "age"),
        Feature("interests", "user", "categorical", 8, 3, "interests"),
        Feature("device", "context", "categorical", 5, 0, "device"),
        Feature("item_id", "item", "categorical", NUM_ITEMS + 3, 0, "item_id"),
        Feature("price", "item", "continuous", 0, 0, "price"),
        Feature("tags", "item", "categorical", 9, 3, "tags"),
        Feature("recent_item_ids", "history", "categorical", NUM_ITEMS + 3, LENGTH, "item_id"),
    ],
    labels=["click"],
    position=None,
    history_length=LENGTH,
)


def checkerboard_run(root: Path, seed: int = 3) -> Run:
    """Data and features of 40 users and 24 items: each user has 8 of its parity's 12 items in train, 2 in valid."""
    random = np.random.default_rng(seed)
    items = [random.permutation(np.arange(user % 2, NUM_ITEMS, 2)) for user in range(NUM_USERS)]
    return _write_run(root, items, random, ordered=False)


def ring_run(root: Path, seed: int = 3) -> Run:
    """The same for 400 users who walk 12 steps each from anywhere, and whose events have timestamps."""
    random = np.random.default_rng(seed)
    starts, turns = random.integers(0, NUM_ITEMS, NUM_WALKS), np.where(np.arange(NUM_WALKS) % 2, 1, -1)
    walks = [(start + turn * np.arange(12)) % NUM_ITEMS for start, turn in zip(starts, turns, strict=True)]
    return _write_run(root, walks, random, ordered=True)


def _write_run(root: Path, items: list[np.ndarray], random: np.random.Generator, *, ordered: bool) -> Run:
    run = Run(root)
    train = [rows[:8] for rows in items]
    _write_data(run.folder("data"), train, ordered=ordered)
    folder = run.folder("features")
    folder.mkdir(parents=True)
    SCHEMA.save(folder / "schema.json")
    _write(folder / "users", {
        "user_id": np.arange(len(items), dtype=np.int32) + 3,
        "age": random.standard_normal(len(items)).astype(np.float32),
        "interests": random.integers(1, 8, (len(items), 3)).astype(np.int32),
    })  # fmt: skip
    _write(folder / "items", {
        "item_id": np.arange(NUM_ITEMS, dtype=np.int32) + 3,
        "price": random.standard_normal(NUM_ITEMS).astype(np.float32),
        "tags": random.integers(0, 9, (NUM_ITEMS, 3)).astype(np.int32),
    })  # fmt: skip
    for split, rows in {
        "train": train,
        "valid": [rows[8:10] for rows in items],
        "test": [r[10:] for r in items],
    }.items():
        _write(folder / split, _events(rows, train, random, ordered=ordered), num_parts=3)
    write_manifest(folder, _manifest("features"))
    return run


def _write_data(folder: Path, train: list[np.ndarray], *, ordered: bool) -> None:
    for snapshot in ("train", "eval", "serve"):
        state = folder / "state" / snapshot
        state.mkdir(parents=True)
        np.save(state / "history.npy", np.array([rows[-LENGTH:] for rows in train], np.int32))
        np.save(state / "seen_indptr.npy", np.arange(0, 8 * len(train) + 1, 8, dtype=np.int64))
        np.save(state / "seen_rows.npy", np.concatenate([np.sort(rows) for rows in train]).astype(np.int32))
        np.save(state / "popularity.npy", np.bincount(np.concatenate(train), minlength=NUM_ITEMS).astype(np.float32))
    info = data_info(len(train), NUM_ITEMS, has_timestamp=ordered, labels=("click",))
    write_manifest(folder, _manifest("data", **msgspec.to_builtins(info)))


def _events(
    rows: list[np.ndarray], train: list[np.ndarray], random: np.random.Generator, *, ordered: bool
) -> dict[str, np.ndarray]:
    """Each positive, and as many unclicked impressions of the neighbour item.

    History: other train items, drawn; where there is an order, the latest ones of train.
    """
    users = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
    positive = np.concatenate(rows)
    history = np.zeros((len(users), LENGTH), np.int32)
    for i, (user, item) in enumerate(zip(users, positive, strict=True)):
        others = train[user][train[user] != item][: random.integers(3, LENGTH + 1)]
        if ordered:
            before = np.flatnonzero(train[user] == item)
            others = train[user][: before[0] if len(before) else None][-LENGTH:]
        history[i, : len(others)] = others + 3
    both = np.concatenate([positive, positive ^ 1])
    return {
        "user_row": np.tile(users, 2).astype(np.int32),
        "item_row": both.astype(np.int32),
        "at": np.arange(len(both), dtype=np.int64),
        "device": random.integers(1, 5, len(both)).astype(np.int32),
        "recent_item_ids": np.tile(history, (2, 1)),
        "click": np.repeat([1, 0], len(users)).astype(np.float32),
    }


def _write(folder: Path, columns: dict[str, np.ndarray], num_parts: int = 1) -> None:
    folder.mkdir(parents=True)
    arrays = {n: pa.array(list(v) if v.ndim == 2 else v) for n, v in columns.items()}
    table = pa.table(arrays)
    step = -(-len(table) // num_parts)
    for part in range(num_parts):
        pq.write_table(table.slice(part * step, step), folder / f"part_{part}.parquet")


def _manifest(stage: str, **info: Any) -> Manifest:
    return Manifest(stage, f"checkerboard {stage}", "2026-01-01T00:00:00+00:00", {}, {}, [], info)
