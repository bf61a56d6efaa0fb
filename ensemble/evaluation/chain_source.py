"""The chain and its retriever as sources: one pass of the real steps over all queries, in batches."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ensemble.evaluation.measure import Slates
from ensemble.evaluation.queries import Queries
from ensemble.request_columns import request_column
from runtime.chain import Chain
from runtime.spec import ChainSpec
from runtime.step import Arrays
from workflows.core.console import progress

__all__ = ["ask_chain"]

# What the retriever alone is judged by: its candidates, best first.
CANDIDATES, SCORES = "candidates", "retrieval_score"


def ask_chain(
    folder: Path, queries: Queries, user_ids: NDArray, item_ids: NDArray, longest: int
) -> tuple[Slates, Slates]:
    """Ask a compiled chain about every query.

    Args:
        folder: a compiled chain whose largest slate is at least `longest`.
        queries: Q queries; the context of the chain's request is taken from them.
        user_ids: raw ids by user_row.
        item_ids: raw ids by item_row, ascending.
        longest: K.

    Returns:
        "retrieval": the first K candidates by retrieval score, and "chain": the slates of K ranked items.
    """
    chain = Chain.load(folder)
    spec = chain.spec
    num_queries = len(queries)
    retrieved = np.full((num_queries, longest), -1, np.int32)
    slates = retrieved.copy()
    retrieval_scores, scores = (np.zeros((num_queries, longest), np.float32) for _ in range(2))
    seconds = dict.fromkeys((node.name for node in chain.nodes), 0.0)
    with progress("evaluate: asking the chain", num_queries, "users") as bar:
        for start in range(0, num_queries, spec.max_batch_size):
            part = np.arange(start, min(start + spec.max_batch_size, num_queries))
            batch: Arrays = _request(queries, part, spec, user_ids, longest)
            for node in chain.nodes:
                started_at = time.perf_counter()
                node.run(batch)
                seconds[node.name] += time.perf_counter() - started_at
            num_candidates = min(longest, batch[CANDIDATES].shape[1])
            retrieved[part, :num_candidates] = batch[CANDIDATES][:, :num_candidates]
            retrieval_scores[part, :num_candidates] = batch[SCORES][:, :num_candidates]
            shown = np.arange(batch["item_id"].shape[1]) < batch["num_items"]
            rows = np.searchsorted(item_ids, batch["item_id"].astype(item_ids.dtype))
            slates[part, : rows.shape[1]] = np.where(shown, rows, -1)
            scores[part, : rows.shape[1]] = batch["score"]
            bar.advance(bar.task_ids[0], len(part))
    last = next(place for place, node in enumerate(chain.plan.nodes) if CANDIDATES in node.gives.values())
    retrieval_seconds = sum(seconds[node.name] for node in chain.nodes[: last + 1])
    return (
        Slates("retrieval", retrieved, retrieval_scores, retrieval_seconds),
        Slates("chain", slates, scores, sum(seconds.values())),
    )


def _request(
    queries: Queries, part: NDArray[np.int64], spec: ChainSpec, user_ids: NDArray, longest: int
) -> dict[str, NDArray]:
    ids = user_ids[queries.user_rows[part]]
    request = {
        "user_id": (ids.astype(object) if ids.dtype.kind == "S" else ids)[:, None],
        "slate_size": np.full((len(part), 1), longest, np.int32),
    }
    for column in spec.context_columns:
        values = pa.chunked_array([queries.context[column.name].take(pa.array(part))])
        request[column.name] = request_column(column, values)[:, None]
    return request
