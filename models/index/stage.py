"""The build-index stage: item embeddings -> the FAISS index that serves, its recall measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.data import load_features, load_state
from models.index.config import IndexConfig
from workflows.core import console, device
from workflows.core.artefacts import Manifest
from workflows.core.quiet import quiet
from workflows.core.run import Run, run_stage

__all__ = ["build_index", "sample_queries"]

STAGE = "index"
SEED = 1


def build_index(run: Run, config: IndexConfig, force: bool = False) -> Manifest:
    """Build and write the FAISS index over the item embeddings.

    Raises:
        ArtefactError: an earlier stage has not finished.
        ConfigError: a GPU was asked for and FAISS has none.
    """
    return run_stage(
        run,
        STAGE,
        config={STAGE: config},
        after=("data", "features", "retrieval"),
        body=lambda folder: _build(run, config, folder),
        force=force,
    )


def _build(run: Run, config: IndexConfig, folder: Path) -> Mapping[str, Any]:
    quiet()
    import faiss

    from models.index.choose import choose_index

    chosen = device.choose(config.device, "faiss")
    device.announce("build-index", chosen)
    embeddings = np.load(run.folder("retrieval") / "item_embeddings.npy", allow_pickle=False)
    queries = sample_queries(run, config.num_queries)
    result = choose_index(embeddings, queries, config, on_gpu=chosen.kind == "gpu")
    faiss.write_index(result.index, str(folder / "index.faiss"))
    picked = result.picked
    meta = {
        "kind": picked.kind,
        "nlist": picked.nlist,
        "nprobe": picked.nprobe,
        "index_recall_at_k": picked.index_recall_at_k,
        "recall_cutoff": min(config.recall_cutoff, len(embeddings)),
        "num_queries": len(queries),
        "measured": msgspec.to_builtins(result.measured),
    }
    (folder / "meta.json").write_bytes(msgspec.json.format(msgspec.json.encode(meta), indent=1))
    console.say(f"index: {picked.kind}, index_recall_at_{meta['recall_cutoff']} = {picked.index_recall_at_k:.4f}")
    return {name: meta[name] for name in ("kind", "nlist", "nprobe", "index_recall_at_k")}


def sample_queries(run: Run, num_queries: int) -> NDArray[np.float32]:
    """Embeddings of real queries: users drawn among those with a history, as a request without context sends them.

    Returns:
        float32 [B, D], B at most num_queries.
    """
    from models.onnx import session

    features, state = load_features(run), load_state(run, "eval")
    history = np.asarray(state.history)
    users = np.flatnonzero(history[:, 0] >= 0) if history.shape[1] else np.arange(0)
    users = users if len(users) else np.arange(features.num_users)
    if len(users) > num_queries:
        users = np.sort(np.random.default_rng(SEED).choice(users, num_queries, replace=False))
    codes = features.history_codes(history[users])
    inputs = features.query_inputs(users, features.null_context(len(users)), codes)
    tower = session(run.folder("retrieval") / "query_tower.onnx", num_threads=0)
    names = [node.name for node in tower.get_inputs()]
    return np.asarray(tower.run(["query"], {name: inputs[name] for name in names})[0])
