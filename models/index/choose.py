"""Which index serves a catalogue: exact, or the cheapest IVF whose measured recall reaches the target."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.index.config import IndexConfig
from models.index.factory import build_exact, build_ivf, exact_top_k, num_lists, recall_against
from workflows.core import console

__all__ = ["Chosen", "Tried", "choose_index"]


class Tried(msgspec.Struct, frozen=True):
    """One measured setting."""

    kind: str
    nlist: int
    nprobe: int
    index_recall_at_k: float
    ms_per_query: float


class Chosen(msgspec.Struct, frozen=True):
    """The index that serves, and what was measured on the way to it."""

    index: Any
    picked: Tried
    measured: list[Tried]


def choose_index(
    embeddings: NDArray[np.float32], queries: NDArray[np.float32], config: IndexConfig, *, on_gpu: bool = False
) -> Chosen:
    """Build the index; IVF takes the smallest nprobe of 1, 2, 4, ... that reaches the target, else the index is exact.

    Args:
        embeddings: float32 [N, D] by item_row.
        queries: float32 [B, D], what recall is measured on.
        config: kind, target and cutoff.
        on_gpu: build IVF and search exactly on the first GPU.
    """
    k = min(config.recall_cutoff, len(embeddings))
    truth = exact_top_k(embeddings, queries, k, on_gpu=on_gpu)
    measured: list[Tried] = []
    if config.kind == "ivf" or (config.kind == "auto" and len(embeddings) > config.exact_up_to):
        nlist = num_lists(len(embeddings))
        index = build_ivf(embeddings, nlist, on_gpu=on_gpu)
        nprobe = 1
        while nprobe < nlist:
            index.nprobe = nprobe
            measured.append(_measure(index, "ivf", nlist, nprobe, queries, truth, k))
            if measured[-1].index_recall_at_k >= config.target_index_recall:
                return Chosen(index, measured[-1], measured)
            nprobe *= 2
        console.say(
            f"index: no nprobe below nlist = {nlist} reached index_recall_at_{k} = {config.target_index_recall}; "
            "searching exactly"
        )
    exact = build_exact(embeddings)
    measured.append(_measure(exact, "exact", 0, 0, queries, truth, k))
    return Chosen(exact, measured[-1], measured)


def _measure(
    index: Any, kind: str, nlist: int, nprobe: int, queries: NDArray[np.float32], truth: NDArray[np.int64], k: int
) -> Tried:
    started_at = time.perf_counter()
    found = index.search(np.ascontiguousarray(queries), k)[1]
    elapsed_ms = (time.perf_counter() - started_at) * 1000
    recall = recall_against(truth, found)
    return Tried(kind, nlist, nprobe, recall, round(elapsed_ms / max(len(queries), 1), 4))
