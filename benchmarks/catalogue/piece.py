"""One size of the catalogue benchmark: build everything that a server opens, and say what each part cost.

Started as `python -m benchmarks.catalogue.piece SIZE FOLDER`; prints one JSON line, a `Piece`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.catalogue.memory import PeakMemory
from benchmarks.catalogue.world import (
    HISTORY_LENGTH,
    features_of,
    history_of,
    queries_near,
    write_embeddings,
    write_lists,
)
from benchmarks.serving.worker import ONE_THREAD
from models.index.advise import advise
from models.index.config import IndexConfig
from models.index.workload import Workload, exact_answers, measure
from runtime.index.allowed import Allowed
from runtime.index.search import INDEX_FILE, ItemSearch, open_index
from runtime.index.settings import EXACT, Settings
from workflows.core.quiet import quiet

__all__ = ["NUM_CANDIDATES", "NUM_USERS", "Piece", "build_piece"]

NUM_USERS, NUM_QUERIES, SHARE_ELIGIBLE, SEED = 10_000, 500, 0.95, 1
NUM_CANDIDATES, SLATE_SIZE = 200, 20
TOWERS_FOLDER = "towers"
HEAVY_SHARE = 0.01
EMBEDDINGS_FILE = "item_embeddings.npy"


class Piece(msgspec.Struct, frozen=True):
    """What a catalogue of one size costs.

    Attributes:
        num_items: N.
        embed_s: the real item tower over all items.
        item_parts: how the ranker knows items, and `ranking_bytes`, of its folder without the graphs.
        export_s: writing the ranker's compiled forms.
        index: index/meta.json.
        advise_s: all trials of the index advisor, the chosen build included.
        heavy_ms, heavy_recall: a search, and its index_recall_at_k, with 99% of the items ineligible.
        artefact_bytes: of everything that a server opens.
        build_peak_bytes: most memory that the building process held, pages of mapped files left out.
        start_s: opening the chain; `private_bytes`, of the serving process after its requests, are not shared.
        shared_bytes: mapped from files and touched.
        p50_ms, p99_ms: one user's slate in the local chain.
    """

    num_items: int
    embed_s: float
    item_parts: str
    ranking_bytes: int
    export_s: float
    index: dict[str, Any]
    advise_s: float
    heavy_ms: float
    heavy_recall: float
    artefact_bytes: int
    build_peak_bytes: int
    start_s: float
    private_bytes: int
    shared_bytes: int
    p50_ms: float
    p99_ms: float


def build_piece(num_items: int, folder: Path) -> Piece:
    """Build and measure a catalogue.

    Args:
        num_items: N.
        folder: an absent folder; holds the compiled chain afterwards.
    """
    with PeakMemory() as memory:
        built = _build(num_items, folder)
    return Piece(**built, build_peak_bytes=memory.peak_bytes, **_served(folder))


def _build(num_items: int, folder: Path) -> dict[str, Any]:
    """Everything that a server opens, and what it cost."""
    quiet()
    folder.mkdir(parents=True)
    features, history = features_of(num_items, NUM_USERS), history_of(num_items, NUM_USERS)
    eligible = np.random.default_rng(SEED).random(num_items) < SHARE_ELIGIBLE
    embed_s = _write_towers(folder / TOWERS_FOLDER, features)
    started_at = time.perf_counter()
    ranking = _write_ranker(folder / "ranker", features)
    export_s = time.perf_counter() - started_at
    _join_query(folder)
    write_embeddings(folder / EMBEDDINGS_FILE, num_items)
    started_at = time.perf_counter()
    workload = _workload(folder, num_items, eligible, history)
    index = _write_index(folder, workload)
    advise_s = time.perf_counter() - started_at
    write_lists(folder / "neighbours", num_items)
    _write_rest(folder, features, history, eligible, index, ranking)
    return {
        "num_items": num_items,
        "embed_s": embed_s,
        "item_parts": ranking["item_parts"],
        "ranking_bytes": _size(folder / "ranker", "*.np[yz]"),
        "export_s": export_s,
        "index": index,
        "advise_s": advise_s,
        **_heavily_filtered(folder, workload, index),
        "artefact_bytes": _size(folder, "*"),
    }


def _write_towers(folder: Path, features: Any) -> float:
    """The untrained towers of the default config: their speed is that of trained ones. Returns seconds to embed."""
    from models.onnx.export import export_onnx, feature_widths
    from models.retrieval.config import RetrievalConfig
    from models.retrieval.settled import LogFacts, settled
    from models.retrieval.towers import build_towers
    from models.retrieval.training import embed_items

    folder.mkdir()
    facts = LogFacts(
        num_users=features.num_users, num_items=features.num_items, num_positives=1, ordered=False, in_memory=True
    )
    towers = build_towers(features.schema, settled(RetrievalConfig(examples="events"), facts))
    started_at = time.perf_counter()
    embed_items(towers, features)
    embed_s = time.perf_counter() - started_at

    def query(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"query": towers.query({f.name: inputs[f.name] for f in towers.query_features})}

    export_onnx(query, feature_widths(towers.query_features), folder / "query_tower.onnx")
    return embed_s


def _write_ranker(folder: Path, features: Any) -> dict[str, Any]:
    """The untrained ranker of the default config in its compiled form."""
    import tensorflow as tf

    from models.onnx.export import random_inputs
    from models.ranking.config import RankingConfig
    from models.ranking.export import export_ranker
    from models.ranking.model import Ranker

    folder.mkdir()
    model = Ranker(features.schema, RankingConfig(), np.zeros(0), np.ones(0), np.zeros(0))
    model({name: tf.constant(values) for name, values in random_inputs(features.schema.features, 2).items()})
    shape = export_ranker(folder, model, features)
    shutil.rmtree(folder / "ranker")
    (folder / "ranker.onnx").unlink()
    names = {
        "query_inputs": [feature.name for feature in model.query_features],
        "item_inputs": [feature.name for feature in model.item_features],
    }
    return {**shape, **names, "pair_inputs": []}


def _join_query(folder: Path) -> None:
    """query.onnx in place of the two graphs that it is made of, and of their weights' first names."""
    from ensemble.export.query import write_query

    towers, ranker = folder / TOWERS_FOLDER, folder / "ranker"
    write_query(towers / "query_tower.onnx", ranker / "ranker_query.onnx", folder)
    shutil.rmtree(towers)
    for part in ranker.glob("ranker_query.onnx*"):
        part.unlink()


def _workload(folder: Path, num_items: int, eligible: NDArray[np.bool_], history: NDArray) -> Workload:
    queries = queries_near(np.load(folder / EMBEDDINGS_FILE, mmap_mode="r"), NUM_QUERIES)
    blocked = [history[number % len(history)] for number in range(len(queries))]
    return Workload(queries, blocked, eligible, NUM_CANDIDATES, min(IndexConfig().recall_cutoff, num_items))


def _write_index(folder: Path, workload: Workload) -> dict[str, Any]:
    embeddings = np.load(folder / EMBEDDINGS_FILE, mmap_mode="r").view(np.ndarray)
    advice = advise(embeddings, workload, IndexConfig(), folder)
    return {
        **msgspec.to_builtins(advice.picked),
        "share_eligible": float(workload.eligible.mean()),
        "recall_cutoff": workload.cutoff,
        "why": advice.why,
        "measured": msgspec.to_builtins(advice.measured),
    }


def _heavily_filtered(folder: Path, workload: Workload, index: dict[str, Any]) -> dict[str, Any]:
    """The chosen search where hardly any item may be shown."""
    embeddings = np.load(folder / EMBEDDINGS_FILE, mmap_mode="r").view(np.ndarray)
    settings = Settings.of(index, "index/meta.json")
    opened = None if settings.kind == EXACT else open_index(folder / INDEX_FILE, len(embeddings))
    eligible = np.random.default_rng(SEED + 1).random(len(embeddings)) < HEAVY_SHARE
    heavy = msgspec.structs.replace(workload, eligible=eligible)
    search = ItemSearch(embeddings, Allowed(np.packbits(eligible, bitorder="little")), settings, opened)
    measured = measure(search, heavy, exact_answers(embeddings, heavy))
    return {"heavy_ms": measured.ms_per_query, "heavy_recall": measured.index_recall_at_k}


def _write_rest(
    folder: Path, features: Any, history: NDArray, eligible: NDArray[np.bool_], index: dict, ranking: dict
) -> None:
    """Ids, state, encoded features, eligibility, popularity and chain.json."""
    from ensemble.export.eligibility import pack, popularity_order
    from runtime.ranker.spec import RankerSpec
    from runtime.spec import ChainSpec, SourceSpec, Tensor
    from runtime.standard import standard_plan
    from runtime.steps.rank import reads_items
    from workflows.features.schema import HISTORY, USER_ID

    num_items, num_users = features.num_items, features.num_users
    popularity = np.random.default_rng(SEED).random(num_items, np.float32)
    spec = ChainSpec(
        num_items=num_items,
        num_users=num_users,
        item_id_dtype="INT64",
        user_id_dtype="INT64",
        history_length=HISTORY_LENGTH,
        embedding_dim=64,
        num_candidates=NUM_CANDIDATES,
        slate_size=SLATE_SIZE,
        max_slate_size=NUM_CANDIDATES,
        max_batch_size=64,
        num_instances=1,
        max_list_length=20_000,
        filter_seen=True,
        user_features=(Tensor(USER_ID, "INT32"), Tensor("age_group", "INT32")),
        context_features=(),
        history_feature=HISTORY,
        context_columns=(),
        tower_inputs=tuple(ranking["query_inputs"]),
        index=Settings.of(index, "index/meta.json"),
        recency_boost=4.0,
        recency_decay=0.8,
        sources=(
            SourceSpec("towers", "runtime.sources.towers:TwoTowers", 1.0),
            SourceSpec("neighbours", "runtime.sources.neighbours:Neighbours", 1.0),
            SourceSpec("popularity", "runtime.sources.item_scores:Popularity"),
        ),
        fallback="popularity",
        ranker=RankerSpec.of(ranking, "ranking/meta.json"),
    )
    spec.save(folder)
    standard_plan(spec).save(folder)
    items = features.items if reads_items(spec) else {"item_id": features.items["item_id"]}
    arrays = {
        "ids/items": np.arange(num_items, dtype=np.int64) * 7 + 1_000,
        "ids/users": np.arange(num_users, dtype=np.int64),
        "state/history": history,
        "state/seen_indptr": np.arange(num_users + 1, dtype=np.int64) * history.shape[1],
        "state/seen_rows": history.ravel(),
        "eligible": pack(eligible),
        "popular": popularity_order(eligible, popularity),
        "popular_scores": popularity,
        **{f"users/{name}": values for name, values in features.users.items()},
        **{f"items/{name}": values for name, values in items.items()},
    }
    for name, values in arrays.items():
        (folder / name).parent.mkdir(exist_ok=True)
        np.save(folder / f"{name}.npy", values)


def _served(folder: Path) -> dict[str, Any]:
    """What the chain costs in a process of its own, one thread, as in the server."""
    command = [sys.executable, "-m", "benchmarks.catalogue.serve", str(folder)]
    done = subprocess.run(command, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _size(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file())


if __name__ == "__main__":
    piece = build_piece(int(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.write(msgspec.json.encode(piece).decode())
