"""Exact search on a GPU through CuPy, measured as a chain on a GPU serves it: many users a call."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from models.index.trial import Tried
from models.index.workload import Workload, exact_answers, recall_against
from runtime.device.device import Device, NoDevice, cupy_device
from runtime.device.kernels import MOST_SELECTED
from runtime.device.memory import missing, search_bytes
from runtime.device.search import MARGIN, DeviceSearch, Hidden, blocks
from runtime.index.settings import EXACT

__all__ = ["CUPY", "can_measure", "first_device", "measure_on", "too_large"]

# In the place of "cpu" and of FAISS's "gpu".
CUPY = "cupy"
# Users a call, as many as a busy server batches; the first call compiles the kernels and is not counted.
USERS = 64
VERDICT = f"as a chain with chain.device = 'gpu' serves it, {USERS} users a call"


def first_device() -> Device | None:
    """The first GPU that CuPy can use, if any."""
    try:
        return cupy_device()
    except NoDevice:
        return None


def can_measure(embeddings: NDArray[np.float32], workload: Workload) -> bool:
    """Whether the kernels take these dimensions and so many candidates, and there is a query."""
    fits = embeddings.shape[1] % 8 == 0 and workload.num_candidates <= MOST_SELECTED - MARGIN
    return fits and len(workload.queries) > 0


def too_large(device: Device, embeddings: NDArray[np.float32], workload: Workload, precision: str) -> str:
    """A sentence where the device's memory is too small; empty where it is not."""
    num_items, dim = embeddings.shape
    needed = search_bytes(num_items, dim, precision, workload.num_candidates, USERS)
    return missing(needed, device.free_bytes(), device.name)


def measure_on(
    device: Device, embeddings: NDArray[np.float32], workload: Workload, precision: str = "float32"
) -> Tried:
    """Search for all queries, filters included.

    Args:
        device: what computes.
        embeddings: float32 [N, D] by item_row; may be memory-mapped.
        workload: the queries and filters.
        precision: "float32", or "float16", whose best are scored again.

    Returns:
        The time of the clock for one query of a call.
    """
    eligible = np.packbits(workload.eligible, bitorder="little")
    exact = device.pin(embeddings) if precision == "float16" else None
    search = DeviceSearch(device, blocks(device, embeddings, precision), eligible, exact)
    found: list[NDArray] = []
    times: list[float] = []
    for start in (0, *range(0, len(workload.queries), USERS)):
        blocked = workload.blocked[start : start + USERS]
        starts = np.concatenate([[0], np.cumsum([len(rows) for rows in blocked])]).astype(np.int64)
        hidden = Hidden(starts, np.concatenate([np.zeros(0, np.int32), *blocked]).astype(np.int32))
        started_at = time.perf_counter()
        of_call = search.nearest(workload.queries[start : start + USERS], hidden, workload.num_candidates)
        scores = device.to_host(of_call.scores)
        times.append((time.perf_counter() - started_at) / len(blocked))
        found += [of_user[of_user > -np.inf] for of_user in scores]
    # Those of the first call are found a second time.
    recall = recall_against(exact_answers(embeddings, workload), found[min(USERS, len(workload.queries)) :])
    ms_per_query = round(float(np.median(times[1:])) * 1000, 4)
    return Tried(EXACT, CUPY, len(embeddings), 0, 0, 0, 1, recall, ms_per_query, 0.0, 0, verdict=VERDICT)
