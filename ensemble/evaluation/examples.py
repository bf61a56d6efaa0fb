"""A few users with their history and slate, readable: item columns beside the ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ensemble.config import Config
from ensemble.evaluation.measure import Slates
from ensemble.evaluation.queries import Queries
from models.dataset.features import State

__all__ = ["example_users", "item_texts"]

NUM_HISTORY, NUM_SHOWN = 8, 10
NAMES = ("title", "name", "item_name", "product_name")
MAX_OTHER_COLUMNS = 2
MAX_TEXT = 80
MAX_TRIED = 1_000


def example_users(
    items: Path, config: Config, queries: Queries, state: State, chain: Slates, ids: tuple[NDArray, NDArray]
) -> list[dict[str, Any]]:
    """Users drawn by the seed, half of them among those whose slate has a hit.

    Args:
        items: data/items.parquet.
        config: how many, the seed, the columns of the items.
        queries: the Q queries.
        state: what was known of the users.
        chain: the slates.
        ids: raw user and item ids by row.

    Returns:
        Per user: "user_id", "history" (latest first) and "slate", items being {"item_id", "text", "is_hit"}.
    """
    chosen = _draw(config, queries, chain)
    histories = [rows[rows >= 0][::-1][:NUM_HISTORY] for rows in np.asarray(state.history[queries.user_rows[chosen]])]
    slates = [rows[rows >= 0][:NUM_SHOWN] for rows in chain.rows[chosen]]
    wanted = np.unique(np.concatenate([*histories, *slates, np.zeros(0, np.int32)]))
    texts = dict(zip(wanted.tolist(), item_texts(items, config, wanted, ids[1]), strict=True))
    examples = []
    for query, history, slate in zip(chosen, histories, slates, strict=True):
        relevant = set(queries.relevant(int(query)).tolist())
        shown = {
            name: [
                {"item_id": _text(ids[1][row]), "text": texts[row], "is_hit": row in relevant} for row in rows.tolist()
            ]
            for name, rows in (("history", history), ("slate", slate))
        }
        examples.append({"user_id": _text(ids[0][queries.user_rows[query]]), **shown})
    return examples


def item_texts(items: Path, config: Config, rows: NDArray[np.integer], item_ids: NDArray) -> list[str]:
    """One line an item: its title if it has one, its id, and up to two of its feature columns.

    Args:
        items: data/items.parquet, by item_row.
        config: names the feature columns.
        rows: item rows [R].
        item_ids: raw ids by item_row.
    """
    columns = set(pq.read_schema(items).names)
    name = next((column for column in NAMES if column in columns), None)
    others = [column for column in config.features.items if column in columns and column != name][:MAX_OTHER_COLUMNS]
    wanted = [*([name] if name else []), *others]
    table = pq.read_table(items, columns=wanted).take(rows).to_pylist() if wanted else [{}] * len(rows)
    lines = []
    for row, values in zip(rows.tolist(), table, strict=True):
        details = [_text(values[column]) for column in others if values[column] is not None]
        title = _text(values[name]) if name and values[name] is not None else f"item {_text(item_ids[row])}"
        lines.append(f"{title} ({', '.join(details)})" if details else title)
    return lines


def _draw(config: Config, queries: Queries, chain: Slates) -> NDArray[np.int64]:
    rng = np.random.default_rng(config.evaluate.seed)
    order = rng.permutation(len(queries))
    wanted = min(config.evaluate.num_examples, len(queries))
    tried = order[:MAX_TRIED]
    hit = [q for q in tried if np.isin(chain.rows[q, :NUM_SHOWN], queries.relevant(int(q))).any()][: wanted // 2]
    others = [q for q in order[: MAX_TRIED + wanted] if q not in hit][: wanted - len(hit)]
    return np.array([*hit, *others], np.int64)


def _text(value: Any) -> str:
    if isinstance(value, bytes | np.bytes_):
        value = value.decode("utf-8", "replace")
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    if isinstance(value, float):
        value = f"{value:,.2f}"
    text = str(value)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
