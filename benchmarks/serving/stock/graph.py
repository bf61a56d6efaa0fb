"""The chain as Merlin Systems' multi-stage example writes it, over the artefacts of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pandas as pd
import tensorflow as tf
from merlin.dag import ColumnSelector, postorder_iter_nodes
from merlin.schema import ColumnSchema, Schema
from merlin.systems.dag.ensemble import Ensemble
from merlin.systems.dag.ops.faiss import QueryFaiss
from merlin.systems.dag.ops.session_filter import FilterCandidates
from merlin.systems.dag.ops.softmax_sampling import SoftmaxSampling
from merlin.systems.dag.ops.unroll_features import UnrollFeatures
from merlin.systems.dag.ops.workflow import TransformWorkflow
from merlin.systems.dag.runtimes.triton import TritonExecutorRuntime
from merlin.table import TensorTable
from numpy.typing import NDArray
from nvtabular import Workflow

from benchmarks.serving.questions import Questions
from benchmarks.serving.stock.operators import (
    BLOCKED,
    DenseLists,
    LookUpItems,
    LookUpUsers,
    TensorflowInProcess,
)
from benchmarks.serving.stock.patched import PatchedWorkflow
from ensemble.config import Config
from ensemble.export.eligibility import eligible_items
from ensemble.operators.runtime import MemoExecutor
from models.dataset.features import load_state
from models.index.meta import IndexMeta
from models.ranking.meta import RankingMeta
from models.retrieval.meta import RetrievalMeta
from runtime.encoders import Encoder
from runtime.index.search import INDEX_FILE
from runtime.index.settings import HNSW
from workflows.core.errors import ConfigError
from workflows.core.run import Run
from workflows.features.graphs import load_workflow
from workflows.features.schema import HISTORY, FeatureSchema, Side

__all__ = ["export_stock", "patched_chain", "stock_ensemble"]

DTYPES = {"INT64": "int64", "FP32": "float32", "FP64": "float64", "BYTES": "str"}
RAGGED = ((0, None), (0, None))
# SoftmaxSampling's own default; its weights overflow long before a temperature would make the order deterministic.
TEMPERATURE = 20.0


def stock_ensemble(
    run: Run,
    config: Config,
    questions: Questions,
    folder: Path,
    transform: Callable[[Side, Workflow], TransformWorkflow] = lambda side, workflow: TransformWorkflow(workflow),
) -> Ensemble:
    """Build the graph.

    Args:
        run: whose stages up to ranking have finished.
        config: of the run.
        questions: their names and types are the request's.
        folder: an existing folder where the raw features and the ranker's probabilities are put for it.
        transform: the operator of the workflows: stock's, or a patched one.

    Raises:
        ConfigError: the ranker needs pair features, which stock has no operator for.
    """
    schema = FeatureSchema.load(run.folder("features") / "schema.json")
    _write_raw_features(run, config, schema, folder)
    _write_ranker(run, folder / "ranker")
    request = Schema([ColumnSchema(name, dtype=DTYPES[kind]) for name, kind in questions.datatypes.items()])

    def encoded(side: Side, raw: Any) -> Any:
        workflow = load_workflow(run.folder("features") / "workflows" / side)
        lengths = {feature.name: feature.length for feature in schema.side(side)}
        return raw[workflow.input_schema.column_names] >> transform(side, workflow) >> DenseLists(lengths)

    names = _names(schema, "context")
    users = ColumnSelector(request.column_names) >> LookUpUsers(folder, _user_schema(run, request, names), names)
    context = encoded("context", users)
    features = encoded("user", users) + encoded("history", users) + context
    query = features[_query_inputs(run, "retrieval")] >> TensorflowInProcess(run.folder("retrieval") / "query_tower")
    found = query >> QueryFaiss(_index_file(run, folder), topk=config.chain.num_candidates)
    kept = found["candidate_ids"] >> FilterCandidates(filter_out=users[BLOCKED])
    items = encoded("item", kept["filtered_ids"] >> LookUpItems(folder, _item_schema(run)))
    together = items >> UnrollFeatures("item_id", features[_query_inputs(run, "ranking")])
    scores = together >> TensorflowInProcess(folder / "ranker")
    slate = kept["filtered_ids"] >> SoftmaxSampling(
        relevance_col=scores["probability"], topk=config.chain.slate_size, temperature=TEMPERATURE
    )
    return Ensemble(slate, request)


def patched_chain(run: Run, config: Config, questions: Questions, folder: Path) -> Callable[[dict[str, NDArray]], Any]:
    """The same graph with patched workflows, each node once a request: input name -> [B, 1], to stock's outputs."""

    def patched(side: Side, workflow: Workflow) -> PatchedWorkflow:
        return PatchedWorkflow(workflow, Encoder.load(run.folder("features") / "encoders", side))

    output = stock_ensemble(run, config, questions, folder, patched).graph.output_node
    for node in postorder_iter_nodes(output):
        node.op.load_artifacts("")

    def answer(request: dict[str, NDArray]) -> Any:
        table = TensorTable({name: values[:, 0] for name, values in request.items()})
        return MemoExecutor().transform(table, [output])

    return answer


def export_stock(ensemble: Ensemble, repository: Path, name: str) -> None:
    """Export with Merlin Systems' own runtime; every operator runs inside the executor model.

    Args:
        ensemble: the graph.
        repository: created.
        name: of the Triton model.
    """
    runtime = TritonExecutorRuntime()
    # This Triton has no TensorFlow backend, and workflows as models of their own would cost a call each.
    runtime.op_table = {}
    runtime.export(ensemble, str(repository), name=name)


def _write_raw_features(run: Run, config: Config, schema: FeatureSchema, folder: Path) -> None:
    """Raw columns under the names that the workflows know."""
    data = run.folder("data")
    users = pd.read_parquet(data / "users.parquet").rename(columns=_names(schema, "user"))
    state = load_state(run, "serve")
    item_ids = np.load(data / "ids/items.npy", allow_pickle=False)
    users[HISTORY] = [item_ids[rows[rows >= 0]] for rows in np.asarray(state.history)]
    users[BLOCKED] = [np.asarray(state.seen(row)) for row in range(len(users))]
    users.to_parquet(folder / "users.parquet")
    np.save(
        folder / "not_eligible.npy", np.flatnonzero(~eligible_items(data / "items.parquet", config)).astype(np.int32)
    )
    pd.read_parquet(data / "items.parquet").rename(columns=_names(schema, "item")).to_parquet(folder / "items.parquet")


def _names(schema: FeatureSchema, side: Side) -> dict[str, str]:
    """Column -> feature, of one side."""
    return {feature.column: feature.name for feature in schema.side(side)}


def _write_ranker(run: Run, folder: Path) -> None:
    """The ranker with a sigmoid behind it: SoftmaxSampling divides by the sum of the scores."""
    ranker = tf.saved_model.load(str(run.folder("ranking") / "ranker"))
    serve = ranker.signatures["serving_default"]
    inputs = serve.structured_input_signature[1]
    if "pair" in inputs:
        raise ConfigError("stock Merlin Systems has no pair features; benchmark a ranker trained on impressions")

    @tf.function(input_signature=[inputs])
    def probability(values: dict[str, Any]) -> dict[str, Any]:
        return {"probability": tf.sigmoid(serve(**values)["logit"])}

    module = tf.Module()
    module.ranker, module.probability = ranker, probability
    tf.saved_model.save(module, str(folder), signatures=probability)


def _index_file(run: Run, folder: Path) -> Path:
    """The run's index with its settings inside, where QueryFaiss reads them; a flat one where the search is exact."""
    path = run.folder("index") / INDEX_FILE
    settings = IndexMeta.load(run.folder("index")).settings
    if path.is_file():
        index = faiss.read_index(str(path))
    else:
        embeddings = np.load(run.folder("retrieval") / "item_embeddings.npy", allow_pickle=False)
        index = faiss.IndexFlatIP(embeddings.shape[1])
        index.add(embeddings)
    if settings.nprobe:
        index.nprobe = settings.nprobe
    if settings.kind == HNSW:
        index.hnsw.efSearch = settings.ef_search
    faiss.write_index(index, str(folder / INDEX_FILE))
    return folder / INDEX_FILE


def _query_inputs(run: Run, stage: str) -> list[str]:
    meta = (RetrievalMeta if stage == "retrieval" else RankingMeta).load(run.folder(stage))
    return list(meta.query_inputs)


def _user_schema(run: Run, request: Schema, names: dict[str, str]) -> Schema:
    """Raw user features, history and context, and the blocked item rows."""
    user = load_workflow(run.folder("features") / "workflows/user").input_schema
    history = load_workflow(run.folder("features") / "workflows/history").input_schema
    blocked = ColumnSchema(BLOCKED, dtype=np.int32, dims=RAGGED)
    context = [c.with_name(names[n]) for n, c in request.column_schemas.items() if n != "user_id"]
    return user + history + Schema([blocked, *context])


def _item_schema(run: Run) -> Schema:
    return load_workflow(run.folder("features") / "workflows/item").input_schema
