"""A catalogue of any size: clustered embeddings, encoded features, users with histories. Written in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.dataset.features import Features
from workflows.features.schema import HISTORY, ITEM_ID, OOV, USER_ID, Feature, FeatureSchema

__all__ = [
    "EMBEDDING_DIM",
    "HISTORY_LENGTH",
    "features_of",
    "history_of",
    "queries_near",
    "write_embeddings",
    "write_lists",
]

EMBEDDING_DIM, HISTORY_LENGTH = 64, 20
# Items that had an event in training; the others share the out-of-vocabulary code, as a cold part of a catalogue does.
MOST_ITEM_CODES = 1_000_000
NUM_CATEGORIES, NUM_BRANDS, NUM_TAGS, TAGS_PER_ITEM, NUM_AGE_GROUPS = 50, 2_000, 60, 3, 6
# Entries of an item-item list.
LIST_LENGTH = 16
# Trained embeddings use few of their dimensions: items differ in LATENT_DIM of them, and a little in all. A cluster
# holds some two hundred items, some far more.
LATENT_DIM, ITEMS_PER_CLUSTER = 12, 200
OWN_SHARE, QUERY_NOISE, NOISE = 0.5, 0.3, 0.05
BLOCK_ROWS = 1 << 17
SEED = 1


def write_embeddings(path: Path, num_items: int) -> NDArray[np.float32]:
    """Write unit vectors near a subspace, around centres of unequal clusters; float32 [N, D], memory-mapped."""
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(num_items, EMBEDDING_DIM))
    random = np.random.default_rng(SEED)
    num_clusters = max(num_items // ITEMS_PER_CLUSTER, 1)
    centres = _unit(random.standard_normal((num_clusters, LATENT_DIM), np.float32))
    spread = _spread()
    for rows in _blocks(num_items):
        # Squaring a uniform draw makes the first clusters the large ones.
        cluster = (num_clusters * random.random(len(rows)) ** 2).astype(np.int64)
        own = _unit(random.standard_normal((len(rows), LATENT_DIM), np.float32))
        latent = _unit((1 - OWN_SHARE) * centres[cluster] + OWN_SHARE * own)
        file[rows] = _unit(
            latent @ spread + NOISE * _unit(random.standard_normal((len(rows), EMBEDDING_DIM), np.float32))
        )
    file.flush()
    embeddings: NDArray[np.float32] = file.view(np.ndarray)
    return embeddings


def write_lists(folder: Path, num_items: int) -> None:
    """Write item-item lists of LIST_LENGTH random items each, as fit-neighbours does."""
    folder.mkdir()
    length = min(LIST_LENGTH, num_items)
    np.save(folder / "indptr.npy", np.arange(num_items + 1, dtype=np.int64) * length)
    rows, weights = (
        np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=(num_items * length,))
        for name, dtype in (("rows", np.int32), ("weights", np.float32))
    )
    random = np.random.default_rng(SEED + 4)
    for block in _blocks(num_items):
        span = slice(int(block[0]) * length, int(block[-1] + 1) * length)
        # One draw from each of equal parts: ascending and distinct.
        drawn = (np.arange(length) + random.random((len(block), length))) * (num_items / length)
        rows[span] = drawn.astype(np.int32).ravel()
        weights[span] = random.random(len(block) * length, np.float32)


def queries_near(embeddings: NDArray[np.float32], num_queries: int) -> NDArray[np.float32]:
    """Unit vectors near random items, as a trained query tower gives them: float32 [Q, D]."""
    random = np.random.default_rng(SEED + 1)
    near = embeddings[np.sort(random.integers(0, len(embeddings), num_queries))]
    away = random.standard_normal((num_queries, LATENT_DIM), np.float32)
    return _unit(near + QUERY_NOISE * _unit(away) @ _spread())


def features_of(num_items: int, num_users: int) -> Features:
    """Random encoded features of the shop's kinds: an id, two categories, a price and tags; an age group."""
    random = np.random.default_rng(SEED + 2)
    num_codes = min(num_items, MOST_ITEM_CODES)
    item_codes = np.full(num_items, OOV, np.int32)
    item_codes[np.sort(random.choice(num_items, num_codes, replace=False))] = np.arange(3, num_codes + 3)

    def codes(most: int, *shape: int) -> NDArray[np.int32]:
        return random.integers(3, most + 3, shape, dtype=np.int32)

    items = {
        ITEM_ID: item_codes,
        "category": codes(NUM_CATEGORIES, num_items),
        "brand": codes(NUM_BRANDS, num_items),
        "price": random.standard_normal(num_items, np.float32),
        "tags": codes(NUM_TAGS, num_items, TAGS_PER_ITEM),
    }
    users = {
        USER_ID: np.arange(3, num_users + 3, dtype=np.int32),
        "age_group": codes(NUM_AGE_GROUPS, num_users),
    }
    return Features(_schema(num_codes, num_users), users, items)


def history_of(num_items: int, num_users: int) -> NDArray[np.int32]:
    """HISTORY_LENGTH distinct item rows of each user, ascending: int32 [U, L]; fewer items than that: all of them."""
    random = np.random.default_rng(SEED + 3)
    length = min(HISTORY_LENGTH, num_items)
    # One draw from each of L equal parts of the catalogue: distinct without comparing.
    starts = np.arange(length) * num_items // length
    widths = np.diff(np.append(starts, num_items))
    rows: NDArray[np.int32] = (starts + (random.random((num_users, length)) * widths).astype(np.int64)).astype(np.int32)
    return rows


def _schema(num_codes: int, num_users: int) -> FeatureSchema:
    def categorical(name: str, side: str, size: int, length: int = 0, domain: str = "") -> Feature:
        return Feature(name, side, "categorical", size + 3, length, domain or name)  # type: ignore[arg-type]

    features = [
        categorical(USER_ID, "user", num_users),
        categorical("age_group", "user", NUM_AGE_GROUPS),
        categorical(ITEM_ID, "item", num_codes),
        categorical("category", "item", NUM_CATEGORIES),
        categorical("brand", "item", NUM_BRANDS),
        Feature("price", "item", "continuous", 0, 0, "price"),
        categorical("tags", "item", NUM_TAGS, TAGS_PER_ITEM),
        categorical(HISTORY, "history", num_codes, HISTORY_LENGTH, ITEM_ID),
    ]
    return FeatureSchema(features, ["click"], None, HISTORY_LENGTH)


def _blocks(num_rows: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, num_rows, BLOCK_ROWS):
        yield np.arange(start, min(start + BLOCK_ROWS, num_rows))


def _spread() -> NDArray[np.float32]:
    """Orthonormal rows [LATENT_DIM, D]: where in the embedding space the items lie."""
    directions = np.random.default_rng(SEED + 5).standard_normal((EMBEDDING_DIM, LATENT_DIM))
    rows: NDArray[np.float32] = np.linalg.qr(directions)[0].T.astype(np.float32)
    return rows


def _unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = values / np.linalg.norm(values, axis=1, keepdims=True)
    return unit
