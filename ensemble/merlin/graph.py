"""The chain in Merlin Systems' operators, as its multi-stage example writes it, over the artefacts of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from merlin.dag import ColumnSelector
from merlin.schema import ColumnSchema, Schema
from merlin.systems.dag.ensemble import Ensemble
from merlin.systems.dag.ops.faiss import QueryFaiss
from merlin.systems.dag.ops.session_filter import FilterCandidates
from merlin.systems.dag.ops.softmax_sampling import SoftmaxSampling
from merlin.systems.dag.ops.unroll_features import UnrollFeatures
from merlin.systems.dag.ops.workflow import TransformWorkflow

from ensemble.merlin.artefacts import QUERY_TOWER, RANKER, num_searched
from ensemble.merlin.lookups import BLOCKED, CHAIN, PATH_CODE, USER_ROW, LookUpItems, LookUpUsers
from ensemble.merlin.predict import TensorflowInProcess
from ensemble.merlin.retrieval import CANDIDATES, PAIR, MergeSources
from ensemble.merlin.slate import PROBABILITY, Slate, slate_schema
from ensemble.merlin.workflow import DenseLists, SavedWorkflow
from models.ranking.meta import RankingMeta
from models.retrieval.meta import RetrievalMeta
from runtime.index.search import INDEX_FILE
from runtime.spec import ChainSpec
from workflows.core.errors import ConfigError
from workflows.core.run import Run
from workflows.features.graphs import load_workflow
from workflows.features.schema import FeatureSchema, Side

__all__ = ["merlin_ensemble", "stock_ensemble"]

REQUEST_DTYPES = {"INT64": "int64", "FP32": "float32", "FP64": "float64", "BYTES": "str"}
RAGGED = ((0, None), (0, None))
# SoftmaxSampling's own default; its weights overflow long before a temperature would make the order deterministic.
TEMPERATURE = 20.0

# How a workflow becomes an operator: the prepared folder and the side.
MakeWorkflow = Callable[[Path, Side], TransformWorkflow]


class _Parts:
    """The nodes that both graphs share.

    Args:
        run: whose stages up to ranking have finished.
        folder: prepared for it.
        workflow: the operator of a workflow.
    """

    def __init__(self, run: Run, folder: Path, workflow: MakeWorkflow) -> None:
        self.folder, self._workflow = folder, workflow
        self.spec = ChainSpec.load(folder / CHAIN)
        self._schema = FeatureSchema.load(run.folder("features") / "schema.json")
        tensors = (self.spec.request[0], *self.spec.context_columns)
        self.request = Schema([ColumnSchema(t.name, dtype=REQUEST_DTYPES[t.dtype], dims=(None, 1)) for t in tensors])
        self.users = ColumnSelector(self.request.column_names) >> LookUpUsers(folder, self._found(), self._context())
        sides: tuple[Side, ...] = ("user", "history", *(("context",) if self.spec.context_columns else ()))
        encoded = [self._encoded(side, self.users) for side in sides]
        self._features = sum(encoded[1:], encoded[0])
        self._ranker_inputs = _query_inputs(run, "ranking")
        features = self._features[_query_inputs(run, "retrieval")]
        self.tower = TensorflowInProcess(folder, QUERY_TOWER)
        self.query = features >> self.tower

    def kept(self, topk: int) -> Any:
        """Item rows that the towers find and the user may see."""
        found = self.query >> QueryFaiss(self.folder / INDEX_FILE, topk=topk)
        return found["candidate_ids"] >> FilterCandidates(filter_out=self.users[BLOCKED])

    def together(self, rows: Any) -> Any:
        """Encoded item features of the rows, each with the query's beside it."""
        items = rows >> LookUpItems(self.folder, self._inputs("item"))
        return self._encoded("item", items) >> UnrollFeatures("item_id", self._features[self._ranker_inputs])

    def _encoded(self, side: Side, raw: Any) -> Any:
        lengths = {feature.name: feature.length for feature in self._schema.side(side)}
        columns = self._inputs(side).column_names
        return raw[columns] >> self._workflow(self.folder, side) >> DenseLists(lengths)

    def _inputs(self, side: Side) -> Schema:
        return load_workflow(self.folder / "workflows" / side).input_schema

    def _context(self) -> dict[str, str]:
        return {feature.column or feature.name: feature.name for feature in self._schema.side("context")}

    def _found(self) -> Schema:
        """What `LookUpUsers` gives."""
        context = [self._inputs("context")] if self.spec.context_columns else []
        rows = [ColumnSchema(name, dtype=np.int32, dims=(None,)) for name in (USER_ROW, PATH_CODE)]
        blocked = ColumnSchema(BLOCKED, dtype=np.int32, dims=RAGGED)
        return sum(context, self._inputs("user") + self._inputs("history")) + Schema([blocked, *rows])


def merlin_ensemble(run: Run, folder: Path) -> Ensemble:
    """The layout `merlin`: the candidates, probabilities and order of the other layouts.

    Args:
        run: whose stages up to ranking have finished.
        folder: as `ensemble.merlin.artefacts.prepare` fills it.
    """
    parts = _Parts(run, folder, SavedWorkflow)
    kept = parts.kept(num_searched(folder))
    merged = Schema([ColumnSchema(CANDIDATES, dtype=np.int32), ColumnSchema(PAIR, dtype=np.float32)])
    (query,) = parts.tower.output_schema.column_names
    candidates = kept + parts.query + parts.users[[USER_ROW, PATH_CODE]] >> MergeSources(folder, merged, query)
    together = parts.together(candidates[CANDIDATES])
    if parts.spec.ranker.pair_inputs:
        together = together + candidates[PAIR]
    scores = together >> TensorflowInProcess(folder, RANKER)
    slate = candidates[CANDIDATES] + scores[PROBABILITY] + parts.users[PATH_CODE]
    return Ensemble(slate >> Slate(folder, slate_schema(parts.spec)), parts.request)


def stock_ensemble(run: Run, folder: Path, workflow: MakeWorkflow = SavedWorkflow) -> Ensemble:
    """The same without what Merlin Systems has no operator for: the towers alone retrieve, and the order is sampled.

    Args:
        run: see merlin_ensemble; its ranker has no pair features.
        folder: see merlin_ensemble.
        workflow: the operator of the workflows.

    Raises:
        ConfigError: the ranker reads pair features.
    """
    parts = _Parts(run, folder, workflow)
    if parts.spec.ranker.pair_inputs:
        raise ConfigError("stock Merlin Systems has no pair features; benchmark a ranker trained on impressions")
    kept = parts.kept(parts.spec.num_candidates)
    scores = parts.together(kept["filtered_ids"]) >> TensorflowInProcess(folder, RANKER)
    order = SoftmaxSampling(relevance_col=scores[PROBABILITY], topk=parts.spec.slate_size, temperature=TEMPERATURE)
    return Ensemble(kept["filtered_ids"] >> order, parts.request)


def _query_inputs(run: Run, stage: str) -> list[str]:
    meta = (RetrievalMeta if stage == "retrieval" else RankingMeta).load(run.folder(stage))
    return list(meta.query_inputs)
