"""Catalogues with ties and filters, and users who must not see everything. NumPy alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.device.search import Hidden

DIM = 16


def world(num_items: int, share: float, num_users: int) -> tuple[Any, Any, Any, list[Any]]:
    rng = np.random.default_rng(num_items)
    embeddings = rng.normal(size=(num_items, DIM)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    embeddings[num_items // 2 : num_items // 2 + 100] = embeddings[3]  # more ties than the margin
    queries = rng.normal(size=(num_users, DIM)).astype(np.float32)
    queries[0] = embeddings[3]
    eligible = np.packbits(rng.random(num_items) < share, bitorder="little")
    hidden = [
        np.sort(rng.choice(num_items, min(count, num_items), replace=False)) for count in range(0, 40 * num_users, 40)
    ]
    hidden[0] = np.array([3, num_items // 2 + 1])
    return embeddings, queries, eligible, hidden


def packed(hidden: list[Any]) -> Hidden:
    starts = np.concatenate([[0], np.cumsum([len(rows) for rows in hidden])]).astype(np.int64)
    return Hidden(starts, np.concatenate(hidden).astype(np.int32))
