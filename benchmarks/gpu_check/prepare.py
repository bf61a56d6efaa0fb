"""What the check carries: a compiled chain of an exported run, and the CPU's answers to some requests.

Usage: python -m benchmarks.gpu_check.prepare RUN OUT
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu_check.chain import ANSWERS, CHAIN
from runtime.chain import Chain

__all__ = ["prepare"]

BATCHES, SEED = (1, 1, 1, 8, 64, 64, 64, 64), 1
# What may travel: a bare machine takes little at a time.
MOST_BYTES = 48 << 20


def prepare(run: Path, out: Path) -> None:
    """Copy the chain of RUN/repo/fused and ask it.

    Raises:
        SystemExit: the run is not exported, or its chain is too large to travel or needs more than is there.
    """
    source = run / "repo/fused/cascade/1/chain"
    if not source.is_dir():
        raise SystemExit(f"{run} has no {source.relative_to(run)}: run `cascade export` first")
    size = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
    if size > MOST_BYTES:
        raise SystemExit(f"the chain of {run} has {size >> 20} MiB, more than {MOST_BYTES >> 20}: take a smaller run")
    if reason := _needs_more(Chain(source)):
        raise SystemExit(f"the chain of {run} {reason}, which a bare machine lacks: take a run without")
    shutil.rmtree(out / CHAIN, ignore_errors=True)
    shutil.copytree(source, out / CHAIN)
    chain, rng = Chain(out / CHAIN), np.random.default_rng(SEED)
    users, items = (np.load(source / "ids" / f"{side}.npy") for side in ("users", "items"))
    saved: dict[str, NDArray] = {"num_requests": np.array(len(BATCHES))}
    for number, count in enumerate(BATCHES):
        request = _request(rng, users, items, count)
        answer = chain.recommend(request)
        saved |= {f"asked.{number}.{name}": values for name, values in request.items()}
        saved[f"item_id.{number}"] = np.array(answer["item_id"].tolist(), items.dtype)
        saved[f"score.{number}"] = answer["score"]
    np.savez(out / ANSWERS, **saved)  # type: ignore[arg-type]


def _needs_more(chain: Chain) -> str:
    """What a chain needs beside NumPy, CuPy and ONNX Runtime; empty: nothing."""
    if chain.spec.live is not None:
        return "reads a live state through LMDB"
    if any(source.name == "content" for source in chain.spec.sources):
        return "has the source 'content', which FAISS searches on the host"
    return ""


def _request(rng: np.random.Generator, users: NDArray, items: NDArray, count: int) -> dict[str, NDArray]:
    request = {"user_id": rng.choice(users, (count, 1)), "slate_size": np.full((count, 1), 20, np.int32)}
    if rng.random() < 0.5:
        request["recent_item_ids"] = rng.choice(items, (count, 5))
    if rng.random() < 0.5:
        request["exclude_item_ids"] = rng.choice(items, (count, 30))
    return request


if __name__ == "__main__":
    prepare(*map(Path, sys.argv[1:]))
