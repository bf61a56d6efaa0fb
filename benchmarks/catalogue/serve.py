"""A compiled chain queried for one user after the other, in a process that has nothing else in it.

Started as `python -m benchmarks.catalogue.serve CHAIN`; prints one JSON line.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["serve"]

NUM_WARM, NUM_TIMED = 100, 1_000
SMAPS = Path("/proc/self/smaps_rollup")


def serve(folder: Path) -> dict[str, Any]:
    """Start, memory and latency of a chain.

    Returns:
        Fields of `benchmarks.catalogue.piece.Piece`.
    """
    from runtime.chain import Chain

    started_at = time.perf_counter()
    chain = Chain.load(folder)
    start_s = time.perf_counter() - started_at
    users = np.random.default_rng(2).integers(0, chain.spec.num_users, NUM_WARM + NUM_TIMED)
    latencies = []
    for user in users.tolist():
        request = {"user_id": np.array([[user]])}
        started_at = time.perf_counter()
        chain.recommend(request)
        latencies.append((time.perf_counter() - started_at) * 1e3)
    p50, p99 = np.percentile(latencies[NUM_WARM:], [50, 99])
    memory = _memory()
    private = memory["Private_Clean"] + memory["Private_Dirty"] - memory["clean_files"]
    return {
        "start_s": start_s,
        "private_bytes": private,
        "shared_bytes": memory["Rss"] - private,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
    }


def _memory() -> dict[str, int]:
    """Bytes by kind. A clean page of a file is one that another instance would share, even while there is none."""
    fields = (line.split() for line in SMAPS.read_text().splitlines()[1:])
    memory = {name.rstrip(":"): int(size) * 1024 for name, size, *_ in fields}
    return {**memory, "clean_files": memory["Private_Clean"]}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(serve(Path(sys.argv[1]))))
