"""The artefacts of a run -> one folder that `runtime.chain.Chain` opens; no TensorFlow, pandas or Merlin."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ensemble.config import Config
from ensemble.export.eligibility import eligible_items, pack, popularity_order
from ensemble.export.files import place
from ensemble.export.query import write_query
from models.dataset.features import Features, load_features, load_state
from runtime.encoders import Encoder
from runtime.index.search import INDEX_FILE
from runtime.index.settings import EXACT, Settings
from runtime.ranker.items import TABLES_FOLDER
from runtime.ranker.pairs import POPULARITY
from runtime.ranker.spec import GATHERED, STORED, RankerSpec
from runtime.spec import ChainSpec, Tensor
from runtime.steps.rank import reads_items
from workflows.core.artefacts import read_manifest
from workflows.core.errors import ArtefactError
from workflows.core.run import Run
from workflows.features.schema import HISTORY, Feature

__all__ = ["STAGES_READ", "compile_chain"]

STAGES_READ = ("data", "features", "retrieval", "neighbours", "index", "ranking")
ID_DTYPES = {"int64": "INT64", "string": "BYTES"}
CONTEXT_DTYPES = {**ID_DTYPES, "float64": "FP64", "float32": "FP32"}
TOP_FILE = "top.npz"
ITEM_FILES = {STORED: ("item_fields.npy", "item_hidden.npy"), GATHERED: (TABLES_FOLDER,)}
PAIR_FILES = {POPULARITY: ("item_popularity.npy",)}


def compile_chain(run: Run, config: Config, folder: Path, state: Literal["eval", "serve"]) -> None:
    """Gather what serving needs.

    Args:
        run: a run whose stages up to ranking have finished.
        config: its config.
        folder: where to write; created, must be empty or absent.
        state: whose histories, seen items and popularity: "eval" is before the test split, "serve" after every event.

    Raises:
        ArtefactError: a stage has not finished, or its artefacts contradict each other.
        ConfigError: a filter rule cannot be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for stage in STAGES_READ:
        read_manifest(run.folder(stage))
    features = load_features(run)
    spec = _spec(run, config, features)
    spec.save(folder)
    _write_items(run, config, features, spec, folder, state)
    for name in ("history", "seen_indptr", "seen_rows"):
        place(run.folder("data") / "state" / state / f"{name}.npy", folder / "state" / f"{name}.npy")
    for side in ("users", "items"):
        place(run.folder("data") / "ids" / f"{side}.npy", folder / "ids" / f"{side}.npy")
    _save_columns(folder / "users", features.users)
    if spec.context_features:
        _place_encoder(run.folder("features") / "encoders", folder / "encoders")
    ranker_query = run.folder("ranking") / "ranker_query.onnx" if spec.ranker.factored else None
    write_query(run.folder("retrieval") / "query_tower.onnx", ranker_query, folder)
    place(run.folder("retrieval") / "item_embeddings.npy", folder / "item_embeddings.npy")
    place(run.folder("neighbours") / "eval", folder / "neighbours")
    if spec.index.kind != EXACT:
        place(run.folder("index") / INDEX_FILE, folder / INDEX_FILE)
    for name in _ranker_files(spec.ranker):
        place(run.folder("ranking") / name, folder / "ranker" / name)


def _spec(run: Run, config: Config, features: Features) -> ChainSpec:
    info = read_manifest(run.folder("data")).info
    retrieval, neighbours, ranking = (_meta(run, stage) for stage in ("retrieval", "neighbours", "ranking"))
    _check_sizes(run, info, features, retrieval)
    schema, chain = features.schema, config.chain
    return ChainSpec(
        num_items=features.num_items,
        num_users=features.num_users,
        item_id_dtype=ID_DTYPES[info["id_type"]["item"]],
        user_id_dtype=ID_DTYPES[info["id_type"]["user"]],
        history_length=schema.history_length,
        embedding_dim=retrieval["embedding_dim"],
        num_candidates=chain.num_candidates,
        slate_size=chain.slate_size,
        max_slate_size=chain.max_slate_size,
        max_batch_size=chain.max_batch_size,
        num_instances=chain.instances or len(os.sched_getaffinity(0)),
        max_list_length=chain.max_list_length,
        filter_seen=chain.filter_seen,
        user_features=tuple(map(_tensor, schema.side("user"))),
        context_features=tuple(map(_tensor, schema.side("context"))),
        history_feature=HISTORY,
        context_columns=tuple(_context_columns(run, schema.side("context"))),
        tower_inputs=tuple(retrieval["query_inputs"]),
        index=Settings.of(_meta(run, "index"), "index/meta.json"),
        recency_boost=neighbours["recency"]["boost"],
        recency_decay=neighbours["recency"]["decay"],
        tower_weight=neighbours["tower_weight"],
        neighbour_weight=neighbours["neighbour_weight"],
        ranker=RankerSpec.of(ranking, "ranking/meta.json"),
    )


def _check_sizes(run: Run, info: dict[str, Any], features: Features, retrieval: dict[str, Any]) -> None:
    embeddings = np.load(run.folder("retrieval") / "item_embeddings.npy", mmap_mode="r", allow_pickle=False)
    expected = (info["num_items"], retrieval["embedding_dim"])
    if embeddings.shape != expected or features.num_items != info["num_items"]:
        raise ArtefactError(
            f"retrieval/item_embeddings.npy has the shape {embeddings.shape} and features/items {features.num_items} "
            f"rows, expected {expected} as data/ and retrieval/meta.json say; run the stages again from prepare"
        )


def _write_items(
    run: Run, config: Config, features: Features, spec: ChainSpec, folder: Path, state: Literal["eval", "serve"]
) -> None:
    popularity = load_state(run, state).popularity
    eligible = eligible_items(run.folder("data") / "items.parquet", config)
    np.save(folder / "eligible.npy", pack(eligible))
    np.save(folder / "popular.npy", popularity_order(eligible, popularity))
    np.save(folder / "popular_scores.npy", (popularity / max(float(popularity.max()), 1.0)).astype(np.float32))
    wanted = {"item_id", *(spec.ranker.item_inputs if reads_items(spec) else ())}
    _save_columns(folder / "items", {name: values for name, values in features.items.items() if name in wanted})


def _save_columns(folder: Path, columns: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in columns.items():
        np.save(folder / f"{name}.npy", values)


def _ranker_files(ranker: RankerSpec) -> list[str]:
    pairs = [file for name in ranker.pair_inputs for file in PAIR_FILES.get(name, ())]
    if not ranker.factored:
        return ["ranker.onnx", *pairs]
    return [TOP_FILE, *ITEM_FILES[ranker.item_parts], *pairs]


def _place_encoder(source: Path, target: Path) -> None:
    for path in sorted(source.glob("context.*")):
        place(path, target / path.name)


def _context_columns(run: Run, features: list[Feature]) -> list[Tensor]:
    """The inputs of a request, each of the type in which its encoder was fitted: no value is rounded on the way."""
    if not features:
        return []
    try:
        records = Encoder.load(run.folder("features") / "encoders", "context").features
    except (OSError, ValueError) as error:
        raise ArtefactError(
            f"{run.folder('features') / 'encoders'} cannot be read ({error}); run cascade prepare again"
        ) from None
    return [Tensor(record["column"], CONTEXT_DTYPES[record["dtype"]], optional=True) for record in records]


def _tensor(feature: Feature) -> Tensor:
    return Tensor(feature.name, "INT32" if feature.kind == "categorical" else "FP32", feature.length or 1)


def _meta(run: Run, stage: str) -> dict[str, Any]:
    path = run.folder(stage) / "meta.json"
    try:
        meta: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path} cannot be read ({error}); run its stage again with --force") from None
    return meta
