"""The build-index stage: item embeddings -> how they are searched, by measurement, and the FAISS index for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from models.dataset.features import load_features, load_state
from models.index.config import IndexConfig
from workflows.core import console, device
from workflows.core.artefacts import Manifest
from workflows.core.quiet import quiet
from workflows.core.run import Run, run_stage

if TYPE_CHECKING:
    from models.index.workload import Workload

__all__ = ["Serving", "build_index", "sample_queries"]

STAGE = "index"
SEED = 1
MIB = 2**20


@dataclass(frozen=True)
class Serving:
    """The candidates and filters that the served chain needs.

    Attributes:
        num_candidates: items wanted per query.
        filter_seen: whether a user's seen items are left out.
        eligible: gives bool [N], the items that may be shown at all; absent: all of them.
        inputs: what decides `eligible`, for the stage's fingerprint.
        device_precision: of the embeddings where exact search on a GPU is measured, "float32" or "float16".
    """

    num_candidates: int = 200
    filter_seen: bool = True
    eligible: Callable[[], NDArray[np.bool_]] | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    device_precision: str = "float32"


def build_index(run: Run, config: IndexConfig, serving: Serving | None = None, force: bool = False) -> Manifest:
    """Choose how the item embeddings are searched, and write the FAISS index for it.

    Args:
        run: whose retrieval stage has finished.
        config: the target, the bounds, and a kind where one is forced.
        serving: candidates and filters of the chain; none: 200 candidates and the seen items.
        force: run even when up to date.

    Raises:
        ArtefactError: an earlier stage has not finished.
        ConfigError: a GPU was asked for and FAISS has none.
    """
    serving = serving or Serving()
    workload = {"num_candidates": serving.num_candidates, "filter_seen": serving.filter_seen, **serving.inputs}
    if serving.device_precision != "float32":
        workload["device_precision"] = serving.device_precision
    return run_stage(
        run,
        STAGE,
        config={STAGE: config},
        after=("data", "features", "retrieval"),
        inputs={"serving": workload},
        body=lambda folder: _build(run, config, serving, folder),
        force=force,
    )


def _build(run: Run, config: IndexConfig, serving: Serving, folder: Path) -> Mapping[str, Any]:
    """Load, measure, write."""
    quiet()
    from models.index.advise import advise
    from models.index.meta import IndexMeta
    from models.index.on_device import can_measure, first_device, measure_on, too_large

    chosen = device.choose(config.device, "faiss", "index.device")
    device.announce("build-index", chosen)
    embeddings = np.load(run.folder("retrieval") / "item_embeddings.npy", mmap_mode="r", allow_pickle=False)
    embeddings = embeddings.view(np.ndarray)
    workload = _workload(run, config, serving, len(embeddings))
    advice = advise(embeddings, workload, config, folder, on_gpu=chosen.kind == "gpu")
    if config.device != "cpu" and (card := first_device()) is not None and can_measure(embeddings, workload):
        if reason := too_large(card, embeddings, workload, serving.device_precision):
            console.say(f"index: exact search on a GPU is not measured: {reason}")
        else:
            on_card = measure_on(card, embeddings, workload, serving.device_precision)
            console.say(
                f"index: exact search on {card.name} takes {on_card.ms_per_query:.3f} ms a query, {on_card.verdict}"
            )
            advice = msgspec.structs.replace(advice, measured=[*advice.measured, on_card])
    meta = IndexMeta.of(advice, workload, config.target_index_recall)
    meta.save(folder)
    console.say(
        f"index: {meta.kind} ({meta.why}), index_recall_at_{meta.recall_cutoff} = {meta.index_recall_at_k:.4f}, "
        f"{meta.ms_per_query:.3f} ms a query, {meta.index_bytes / MIB:,.1f} MiB beside the embeddings"
    )
    return {name: getattr(meta, name) for name in ("kind", "nlist", "nprobe", "index_recall_at_k", "ms_per_query")}


def _workload(run: Run, config: IndexConfig, serving: Serving, num_items: int) -> Workload:
    """The queries of users with a history, with the filters of the chain."""
    from models.index.workload import Workload

    users, queries = sample_queries(run, config.num_queries)
    state = load_state(run, "eval")
    return Workload(
        queries=queries,
        blocked=[np.asarray(state.seen(int(user) if serving.filter_seen else -1)) for user in users],
        eligible=np.ones(num_items, bool) if serving.eligible is None else serving.eligible(),
        num_candidates=serving.num_candidates,
        cutoff=min(config.recall_cutoff, serving.num_candidates, num_items),
    )


def sample_queries(run: Run, num_queries: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Embeddings of real queries: users drawn among those with a history, as a request without context sends them.

    Returns:
        User rows int64 [Q] and query embeddings float32 [Q, D], Q at most num_queries.
    """
    from models.onnx.export import session

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
    return users, np.asarray(tower.run(["query"], {name: inputs[name] for name in names})[0])
