"""A whole run directory per docs/ARTEFACTS.md without training anything: seeded numpy arrays and small ONNX graphs.

`make_run(folder)` writes data/, features/, retrieval/, neighbours/, index/ and ranking/; it returns the run and its
config.
Users 0..2 are special: 0 has neither history nor seen items, 1 has seen every item but five, 2 has a full history.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ensemble.config import ChainConfig, Config
from ensemble.config_order import OrderConfig
from models.index.factory import num_lists
from models.index.meta import IndexMeta
from models.neighbours.blend import Blend
from models.neighbours.meta import NeighboursMeta
from models.ranking.config import RankingConfig, TaskConfig
from models.ranking.meta import Calibration, RankingMeta, TaskCalibration
from models.ranking.tasks import Task, resolve_tasks
from models.retrieval.meta import RetrievalMeta
from models.sources.meta import SourceRecord, SourcesMeta
from runtime.neighbours import Recency
from runtime.ranker.items import ItemFeature, save_tables
from tests.ensemble.synthetic_models import FIELD_DIM, HIDDEN, query_tower, ranker, ranker_query
from tests.ensemble.synthetic_stream import (
    encoder_records,
    live_inputs,
    num_rows,
    pair_names,
    write_encoded,
    write_events,
)
from tests.workflows.infos import data_info
from workflows.core.artefacts import Manifest, read_manifest, write_manifest
from workflows.core.origins import origins
from workflows.core.run import STAGES, Run
from workflows.features.config import FeaturesConfig, FeatureSpec, StreamFeature
from workflows.features.schema import Feature, FeatureSchema
from workflows.stream.config import StreamConfig
from workflows.stream.features import LiveColumn, live_columns
from workflows.tables.config import DataConfig

L, D, PAIR_INPUTS = 6, 8, ("tower_score", "neighbour_score", "popularity")
TOWER_WEIGHT, NEIGHBOUR_WEIGHT, RECENCY = 1.5, 0.75, Recency(boost=1.5, decay=0.7)
CALIBRATION = Calibration(
    on="valid", factor=1.0, offset=0.0, auc=0.5, logloss=0.7, ece=0.0, positive_share=0.5, mean_probability=0.5
)
# Two that follow a click, on no line of parents together.
TASKS = {
    "like": TaskConfig(label="like", after="click"),
    "buy": TaskConfig(label="purchase", after="click"),
    "click": TaskConfig(label="click"),
}
UTILITY = "0.1*click + buy*price - 0.3*like + 0.05"
# Weight and quota.
FURTHER = {"trending": (0.5, 0.0), "latest": (0.0, 0.1), "content": (0.3, 0.2)}
DEVICES = ["desktop", "phone", "tablet"]


def make_run(
    root: Path,
    *,
    text_ids: bool = False,
    num_users: int = 60,
    num_items: int = 300,
    index: str = "exact",
    factored: bool = True,
    gathered: bool = False,
    seed: int = 0,
    chain: ChainConfig | None = None,
    further: bool = False,
    stream: Mapping[str, StreamFeature] | None = None,
    utility: str = "",
) -> tuple[Run, Config]:
    """Write every artefact that export reads.

    Args:
        root: the run directory, created.
        text_ids: string ids ("item-00007") instead of int64 ones (not contiguous).
        num_users: U, at least 10.
        num_items: N, at least 40.
        index: the kind.
        factored: whether ranking/ has the factored form or only the plain graph.
        gathered: whether the factored form gathers its item parts from tables.
        seed: of every number.
        chain: its [chain] section; 30 candidates and slates of 5 when absent.
        further: whether sources beside towers and lists have a place: trending by weight, latest and content by quota.
        stream: its stream features, with a [stream] section, and a thousand events up to now in data/; see
            `tests.ensemble.synthetic_stream`. Without, data/ has one event.
        utility: what slates are ordered by, over TASKS and `price`; empty: there are no tasks.
    """
    rng = np.random.default_rng(seed)
    run, config = Run(root), _config(chain, stream)
    if utility:
        ordered = msgspec.structs.replace(config.chain, order=OrderConfig(utility=utility))
        config = msgspec.structs.replace(config, ranking=RankingConfig(tasks=TASKS), chain=ordered)
    tasks = resolve_tasks(config.ranking, "click")
    columns = live_columns(stream or {})
    schema = _schema(num_users, num_items, columns)
    tables = _tables(rng, num_users, num_items)
    _write_data(run, rng, text_ids, tables, stream)
    _write_features(run, schema, tables, columns)
    embeddings = _write_retrieval(run, rng, schema, num_items)
    _write_neighbours(run, rng, num_items)
    _write_sources(run, num_items, further)
    _write_index(run, embeddings, index)
    _write_ranking(run, rng, schema, num_items, factored, gathered, (*PAIR_INPUTS, *pair_names(columns)), tasks)
    return run, config


def item_id(row: int, text_ids: bool) -> Any:
    """The raw id of an item row."""
    return f"item-{row:05d}".encode() if text_ids else 7 + 3 * row


def user_id(row: int, text_ids: bool) -> Any:
    """The raw id of a user row."""
    return f"üser-{row:05d}".encode() if text_ids else 1000 + 2 * row


def _config(chain: ChainConfig | None, stream: Mapping[str, StreamFeature] | None) -> Config:
    return Config(
        data=DataConfig(
            source="tables",
            events="events.parquet",
            items="items.parquet",
            users="users.parquet",
            timestamp="at",
            labels=["click"],
            context=["device", "hour", "temperature"],
            stock="in_stock",
        ),
        features=FeaturesConfig(
            users={"age_group": FeatureSpec(), "spend": FeatureSpec(kind="continuous")},
            items={"category": FeatureSpec(), "price": FeatureSpec(kind="continuous")},
            context={
                "device": FeatureSpec(),
                "hour": FeatureSpec(kind="bucketised", boundaries=[6, 12, 18]),
                "temperature": FeatureSpec(kind="continuous"),
            },
            stream=dict(stream or {}),
            history_length=L,
        ),
        stream=StreamConfig() if stream else None,
        chain=chain or ChainConfig(num_candidates=30, slate_size=5, max_slate_size=20),
    )


def _schema(num_users: int, num_items: int, columns: Sequence[LiveColumn]) -> FeatureSchema:
    def categorical(name: str, side: Any, cardinality: int, length: int = 0, domain: str = "") -> Feature:
        return Feature(name, side, "categorical", cardinality, length, domain or name)

    def continuous(name: str, side: Any) -> Feature:
        return Feature(name, side, "continuous", 0, 0, name)

    features = [
        categorical("user_id", "user", num_users + 3),
        categorical("age_group", "user", 8),
        continuous("spend", "user"),
        categorical("item_id", "item", num_items + 3),
        categorical("category", "item", 10),
        continuous("price", "item"),
        categorical("device", "context", len(DEVICES) + 3),
        categorical("hour", "context", 7),
        continuous("temperature", "context"),
        *live_inputs(columns, first=4),
        categorical("recent_item_ids", "history", num_items + 3, L, "item_id"),
    ]
    return FeatureSchema(features, ["click"], None, L)


def _tables(rng: np.random.Generator, num_users: int, num_items: int) -> dict[str, np.ndarray]:
    return {
        # Codes in another order than rows, as frequency order gives them; the last items were not in training.
        "item_code": np.where(np.arange(num_items) >= num_items - 3, 2, rng.permutation(num_items) + 3),
        "user_code": rng.permutation(num_users) + 3,
        "age_group": rng.integers(1, 8, num_users),
        "spend": rng.normal(size=num_users),
        "category": rng.integers(3, 10, num_items),
        "price": rng.normal(size=num_items),
        "in_stock": rng.random(num_items) > 0.1,
        "popularity": np.floor(rng.pareto(1.0, num_items) * 5),
    }


def _write_data(
    run: Run,
    rng: np.random.Generator,
    text_ids: bool,
    tables: dict[str, np.ndarray],
    stream: Mapping[str, StreamFeature] | None,
) -> None:
    folder = _folder(run, "data")
    num_users, num_items = len(tables["user_code"]), len(tables["item_code"])
    item_ids = np.array([item_id(row, text_ids) for row in range(num_items)])
    user_ids = np.array([user_id(row, text_ids) for row in range(num_users)])
    (folder / "ids").mkdir()
    np.save(folder / "ids/items.npy", item_ids)
    np.save(folder / "ids/users.npy", user_ids)
    raw_ids = [value.decode() for value in item_ids.tolist()] if text_ids else item_ids
    raw = {"item_id": raw_ids, "category": [f"c{code}" for code in tables["category"]], "price": tables["price"]}
    pq.write_table(pa.table({**raw, "in_stock": tables["in_stock"]}), folder / "items.parquet")
    context = {"device": ["phone"], "hour": pa.array([3], pa.int64()), "temperature": pa.array([20.0], pa.float64())}
    (folder / "train").mkdir()
    pq.write_table(
        pa.table({"user_row": [0], "item_row": [0], "at": [0], **context}), folder / "train/part_000.parquet"
    )
    for snapshot in ("train", "eval", "serve"):
        _write_state(folder / "state" / snapshot, rng, num_users, num_items, tables["popularity"])
    kind = "string" if text_ids else "int64"
    ids, rows = {"item": kind, "user": kind}, {"train": 1, "valid": 0, "test": 0}
    info = data_info(num_users, num_items, id_type=ids, rows=rows, history_length=L, labels=("click",))
    if stream:
        one = {"device": "phone", "hour": 3, "temperature": 20.0}
        columns = write_events(folder, np.random.default_rng(num_items), one, stream)
        info = msgspec.structs.replace(info, rows=num_rows(), stream=columns)
    _finish(folder, "data", msgspec.to_builtins(info))


def _write_state(folder: Path, rng: np.random.Generator, num_users: int, num_items: int, popularity: Any) -> None:
    folder.mkdir(parents=True)
    history = np.full((num_users, L), -1, np.int32)
    seen: list[np.ndarray] = []
    for user in range(num_users):
        length = {0: 0, 2: L}.get(user, int(rng.integers(1, L + 1)))
        rows = rng.choice(num_items, size=length, replace=False)
        history[user, :length] = rows
        extra = rng.choice(num_items, size=0 if user == 0 else 10, replace=False)
        everything = np.arange(5, num_items) if user == 1 else np.concatenate([rows, extra])
        seen.append(np.unique(everything).astype(np.int32))
    np.save(folder / "history.npy", history)
    np.save(folder / "seen_indptr.npy", np.cumsum([0, *map(len, seen)]).astype(np.int64))
    np.save(folder / "seen_rows.npy", np.concatenate(seen))
    np.save(folder / "popularity.npy", np.asarray(popularity, np.float32))


def _write_features(run: Run, schema: FeatureSchema, tables: dict[str, np.ndarray], live: Sequence[LiveColumn]) -> None:
    folder = _folder(run, "features")
    schema.save(folder / "schema.json")
    items = {"item_id": tables["item_code"], "category": tables["category"], "price": tables["price"]}
    users = {"user_id": tables["user_code"], "age_group": tables["age_group"], "spend": tables["spend"]}
    for side, columns in (("items", items), ("users", users)):
        (folder / side).mkdir()
        table = {n: v.astype(np.float32 if v.dtype.kind == "f" else np.int32) for n, v in columns.items()}
        pq.write_table(pa.table(table), folder / side / "part_000.parquet")
    inputs = live_inputs(live, first=4)
    _write_context_encoder(folder / "encoders", encoder_records(live, inputs))
    if live:
        write_encoded(run.folder("data"), folder, live, inputs)
    _finish(folder, "features", {})


def _write_context_encoder(folder: Path, further: list[dict[str, Any]]) -> None:
    folder.mkdir()
    keys = np.array(sorted(name.encode() for name in DEVICES))
    np.save(folder / "context.device.keys.npy", keys)
    np.save(folder / "context.device.codes.npy", np.array([5, 3, 4], np.int32))
    files = {"keys": "context.device.keys.npy", "codes": "context.device.codes.npy"}
    features = [
        {"name": "device", "column": "device", "kind": "categorical", "dtype": "string", "length": 0, **files},
        {
            "name": "hour",
            "column": "hour",
            "kind": "bucketised",
            "dtype": "int64",
            "length": 0,
            "boundaries": [6, 12, 18],
        },
        {"name": "temperature", "column": "temperature", "kind": "continuous", "dtype": "float64", "length": 0}
        | {"log": False, "mean": 15.0, "std": 8.0},
        *further,
    ]
    (folder / "context.json").write_text(json.dumps({"format_version": 3, "name": "context", "features": features}))


def _write_retrieval(run: Run, rng: np.random.Generator, schema: FeatureSchema, num_items: int) -> np.ndarray:
    folder = _folder(run, "retrieval")
    embeddings = _unit(rng.normal(size=(num_items, D)))
    # The items that were not in training have one embedding: exact ties.
    embeddings[-3:] = embeddings[-1]
    np.save(folder / "item_embeddings.npy", embeddings)
    query_tower(rng, schema.query, D, folder / "query_tower.onnx")
    inputs = tuple(feature.name for feature in schema.query)
    RetrievalMeta(embedding_dim=D, temperature=0.1, query_inputs=inputs).save(folder)
    _finish(folder, "retrieval", {})
    return embeddings


def _write_neighbours(run: Run, rng: np.random.Generator, num_items: int) -> None:
    folder = _folder(run, "neighbours")
    # The last items contribute to no other and no other contributes to them, as without a training event.
    lists = [np.sort(rng.choice(num_items - 3, rng.integers(0, 8), replace=False)) for _ in range(num_items - 3)]
    lists += [np.zeros(0, np.int64)] * 3
    for snapshot in ("train", "eval"):
        (folder / snapshot).mkdir()
        np.save(folder / snapshot / "indptr.npy", np.cumsum([0, *map(len, lists)]).astype(np.int64))
        np.save(folder / snapshot / "rows.npy", np.concatenate(lists).astype(np.int32))
        np.save(folder / snapshot / "weights.npy", _normal(rng, sum(map(len, lists))))
    num_entries = {snapshot: sum(map(len, lists)) for snapshot in ("train", "eval")}
    NeighboursMeta(
        tower_weight=TOWER_WEIGHT,
        neighbour_weight=NEIGHBOUR_WEIGHT,
        l2=1.0,
        walk_power=0.5,
        blend=Blend(0.5, 1.0, 1.0),
        recency=RECENCY,
        num_entries=num_entries,
        measured=(),
    ).save(folder)
    _finish(folder, "neighbours", {})


def _write_sources(run: Run, num_items: int, further: bool) -> None:
    """A stream of random numbers of its own: the other artefacts are the same with and without."""
    folder, rng = _folder(run, "sources"), np.random.default_rng(num_items)
    place = FURTHER if further else dict.fromkeys(FURTHER, (0.0, 0.0))
    steps = {"trending": "item_scores:Trending", "latest": "item_scores:Latest", "content": "content:Content"}
    records = {name: SourceRecord(f"runtime.sources.{step}", *place[name]) for name, step in steps.items()}
    records["popularity"] = SourceRecord("runtime.sources.item_scores:Popularity", 0.0, 0.0)
    few = np.sort(rng.choice(num_items, num_items // 4, replace=False)).astype(np.int32)
    scores = {name: rng.random(num_items).astype(np.float32) for name in ("trending", "latest")}
    vectors = _unit(rng.normal(size=(len(few), D)))
    for snapshot in ("eval", "serve"):
        for name, values in scores.items():
            (folder / snapshot / name).mkdir(parents=True)
            np.save(folder / snapshot / name / "scores.npy", values)
            np.save(folder / snapshot / name / "order.npy", np.argsort(-values, kind="stable").astype(np.int32))
        (folder / snapshot / "content").mkdir()
        np.save(folder / snapshot / "content/rows.npy", few)
        np.save(folder / snapshot / "content/vectors.npy", vectors)
    SourcesMeta(fallback="popularity", sources=records).save(folder)
    _finish(folder, "sources", {})


def _write_index(run: Run, embeddings: np.ndarray, kind: str) -> None:
    import faiss

    from models.index.factory import build

    folder = _folder(run, "index")
    if kind != "exact":
        faiss.write_index(build(kind, embeddings), str(folder / "index.faiss"))
    index_meta(kind, len(embeddings)).save(folder)
    _finish(folder, "index", {})


def index_meta(kind: str, num_items: int) -> IndexMeta:
    """A search so thorough that nothing is left out."""
    return IndexMeta(
        kind=kind,
        device="cpu",
        num_items=num_items,
        nlist=num_lists(num_items),
        nprobe=num_lists(num_items),
        ef_search=num_items,
        overfetch=16,
        lists_per_root=4,
        index_recall_at_k=1.0,
        ms_per_query=1.0,
        build_s=1.0,
        index_bytes=0,
        recall_cutoff=10,
        target_index_recall=0.95,
        num_queries=0,
        num_candidates=30,
        share_eligible=0.0,
        mean_blocked=0.0,
        why="it is thorough",
        measured=(),
    )


def _write_ranking(
    run: Run,
    rng: np.random.Generator,
    schema: FeatureSchema,
    num_items: int,
    factored: bool,
    gathered: bool,
    pair_inputs: tuple[str, ...],
    tasks: Sequence[Task],
) -> None:
    folder, outputs = _folder(run, "ranking"), max(len(tasks), 1)
    query, item = schema.query, schema.side("item")
    num_query_fields = ranker_query(rng, query, folder / "ranker_query.onnx")
    ranker(rng, query, item, len(pair_inputs), folder / "ranker.onnx", outputs)
    num_item_fields = 3
    if gathered:
        _write_tables(rng, folder, item)
    elif factored:
        np.save(folder / "item_fields.npy", _normal(rng, num_items, num_item_fields, FIELD_DIM))
        np.save(folder / "item_hidden.npy", _normal(rng, num_items, HIDDEN))
    if factored:
        top = {"cross": _normal(rng, num_item_fields * num_query_fields, HIDDEN) * 0.2}
        top |= {
            "pair": _normal(rng, len(pair_inputs), HIDDEN),
            "skip": _normal(rng, len(pair_inputs), *([outputs] if tasks else [])),
        }
        for layer, (rows, columns) in enumerate([(HIDDEN, 8), (8, outputs)], start=1):
            top |= {f"w{layer}": _normal(rng, rows, columns) * 0.3, f"b{layer}": _normal(rng, columns) * 0.1}
        np.savez(folder / "top.npz", **top)
    np.save(folder / "item_popularity.npy", np.abs(_normal(rng, num_items)))
    RankingMeta(
        factored=factored,
        item_parts="gathered" if gathered else "stored",
        query_inputs=tuple(f.name for f in query),
        item_inputs=tuple(f.name for f in item),
        pair_inputs=pair_inputs,
        label="click",
        num_query_fields=num_query_fields,
        num_item_fields=num_item_fields,
        field_dim=FIELD_DIM,
        hidden=HIDDEN,
        training_examples="impressions",
        calibration=CALIBRATION,
        tasks=tuple(TaskCalibration(task=t.name, parent=t.parent, calibration=CALIBRATION) for t in tasks),
    ).save(folder)
    _finish(folder, "ranking", {})


def _write_tables(rng: np.random.Generator, folder: Path, item: list[Feature]) -> None:
    features = [ItemFeature(f.name, f.kind, f.length, f.domain) for f in item]
    tables = {f.domain: _normal(rng, f.cardinality, FIELD_DIM) for f in item if f.kind == "categorical"}
    bottom = [(_normal(rng, 1, 3), _normal(rng, 3)), (_normal(rng, 3, FIELD_DIM), _normal(rng, FIELD_DIM))]
    save_tables(folder, features, tables, bottom, _normal(rng, 3, HIDDEN) * 0.2, _normal(rng, FIELD_DIM, HIDDEN))


def _folder(run: Run, stage: str) -> Path:
    folder = run.folder(stage)
    folder.mkdir(parents=True)
    return folder


def _finish(folder: Path, stage: str, info: dict[str, Any]) -> None:
    _json(folder / "config.json", {})
    before = [name for name in STAGES[: STAGES.index(stage)] if (folder.parent / name).is_dir()]
    blank = Manifest(stage, f"synthetic {stage}", "2026-01-01T00:00:00+00:00", {}, {}, [], info)
    write_manifest(folder, msgspec.structs.replace(blank, after=origins(folder.parent, before)))


def sign_again(run: Run) -> None:
    """Bring the manifests up to date with files that a test has changed: those of the stages, one made from another."""
    for stage in (name for name in STAGES if (run.folder(name) / "manifest.json").is_file()):
        manifest = read_manifest(run.folder(stage))
        after = origins(run.root, list(manifest.after))
        write_manifest(run.folder(stage), msgspec.structs.replace(manifest, after=after))


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


def _unit(values: np.ndarray) -> np.ndarray:
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
