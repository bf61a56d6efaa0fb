"""One kind of index on one catalogue: built, opened as served, tuned to the target, measured."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import faiss
import msgspec
import numpy as np
from numpy.typing import NDArray

from models.index.config import IndexConfig
from models.index.factory import GPU_KINDS, Plan, build
from models.index.tune import smallest
from models.index.workload import Measured, Workload, exact_answers, measure
from runtime.index.allowed import Allowed
from runtime.index.search import MARGIN, ItemSearch, open_index
from runtime.index.settings import EXACT, HNSW, IVF_FASTSCAN, IVF_PQ, Settings

__all__ = ["Catalogue", "Tried"]

# Kinds that find candidates by codes.
CODED = (IVF_PQ, IVF_FASTSCAN)
MOST_OVERFETCH = 16
LONGEST_QUEUE = 4096


class Tried(msgspec.Struct, frozen=True):
    """One kind at the cheapest settings that were found to reach the target, or at its most thorough ones.

    Attributes:
        kind: "exact", "ivf", "ivf_pq", "ivf_fastscan" or "hnsw".
        device: "cpu", "gpu" (FAISS) or "cupy" (exact search there, many users a call).
        num_items: how many items it was measured on.
        nlist: inverted lists; 0 without.
        nprobe: lists searched.
        ef_search: length of the graph search's queue.
        overfetch: times as many candidates as wanted are fetched by their codes, then ordered by their embeddings.
        index_recall_at_k: share of the exact answers that are found.
        ms_per_query: time of one search.
        lists_per_root: how many that is, in sqrt(N).
        build_s: seconds that its build took.
        index_bytes: of index.faiss, beside the embeddings.
        verdict: "picked", or why it was not.
    """

    kind: str
    device: str
    num_items: int
    nlist: int
    nprobe: int
    ef_search: int
    overfetch: int
    index_recall_at_k: float
    ms_per_query: float
    build_s: float
    index_bytes: int
    lists_per_root: int = 0
    verdict: str = ""

    @property
    def plan(self) -> Plan:
        """What was built."""
        return Plan(self.kind, self.lists_per_root)


class Catalogue:
    """A catalogue, or a sample of one, with the exact answers to its workload.

    Args:
        embeddings: float32 [N, D].
        workload: the queries and filters that it must serve.
        config: the target.
        folder: where index files are written, one a plan.
    """

    def __init__(self, embeddings: NDArray[np.float32], workload: Workload, config: IndexConfig, folder: Path) -> None:
        self.embeddings, self._workload, self._target, self._folder = (
            embeddings,
            workload,
            config.target_index_recall,
            folder,
        )
        self._allowed = Allowed(np.packbits(workload.eligible, bitorder="little"))
        self._truth = exact_answers(embeddings, workload)

    def path(self, plan: Plan) -> Path:
        """The index file of a plan."""
        return self._folder / f"{plan.name}.faiss"

    def exact(self, device: str = "cpu") -> Tried:
        """The search that compares every item."""
        return self._tried(Plan(EXACT), Settings(EXACT, device), None, 0.0)

    def approximate(self, plan: Plan, *, on_gpu: bool = False) -> list[Tried]:
        """Build a kind and tune it; on a GPU, inverted lists are measured there as well where it can hold them."""
        started_at = time.perf_counter()
        index = build(plan.kind, self.embeddings, lists_per_root=plan.lists_per_root, on_gpu=on_gpu)
        faiss.write_index(index, str(self.path(plan)))
        build_s = time.perf_counter() - started_at
        index = open_index(self.path(plan), len(self.embeddings))
        settings = self._tune(plan.kind, index)
        tried = [self._tried(plan, settings, index, build_s)]
        if on_gpu and plan.kind in GPU_KINDS:
            tried.append(self._tried(plan, dataclasses.replace(settings, device="gpu"), index, build_s))
        return tried

    def _tune(self, kind: str, index: Any) -> Settings:
        """The cheapest settings that reach the target; the most thorough where none does."""
        if kind == HNSW:
            shortest = self._workload.num_candidates + MARGIN
            longest = max(shortest, min(LONGEST_QUEUE, len(self.embeddings)))
            queue = smallest(lambda n: self._holds(Settings(kind, ef_search=n), index), longest, at_least=shortest)
            return Settings(kind, ef_search=queue or longest)
        overfetch = MOST_OVERFETCH if kind in CODED else 1
        nprobe = smallest(lambda n: self._holds(Settings(kind, nprobe=n, overfetch=overfetch), index), index.nlist)
        if kind not in CODED or nprobe is None:
            return Settings(kind, nprobe=nprobe or index.nlist, overfetch=overfetch)
        # A few more lists cost less than ordering twice as many candidates.
        most = min(nprobe + nprobe // 4, index.nlist)
        wider = smallest(lambda n: self._holds(Settings(kind, nprobe=n), index), most, at_least=nprobe)
        if wider is not None:
            return Settings(kind, nprobe=wider)
        fewest = smallest(lambda n: self._holds(Settings(kind, nprobe=nprobe, overfetch=n), index), MOST_OVERFETCH)
        return Settings(kind, nprobe=nprobe, overfetch=fewest or MOST_OVERFETCH)

    def _holds(self, settings: Settings, index: Any) -> bool:
        """Whether the index itself reaches the target and fills as many slates; an exact search in its place would."""
        measured = self._measure(settings, index, fill=False)
        return min(measured.index_recall_at_k, measured.filled) >= self._target

    def _measure(self, settings: Settings, index: Any, *, fill: bool = True) -> Measured:
        search = ItemSearch(self.embeddings, self._allowed, settings, index)
        return measure(search, self._workload, self._truth, fill=fill)

    def _tried(self, plan: Plan, settings: Settings, index: Any, build_s: float) -> Tried:
        measured = self._measure(settings, index)
        return Tried(
            **{name: getattr(settings, name) for name in ("kind", "device", "nprobe", "ef_search", "overfetch")},
            index_recall_at_k=measured.index_recall_at_k,
            ms_per_query=measured.ms_per_query,
            num_items=len(self.embeddings),
            nlist=0 if index is None else int(getattr(index, "nlist", 0)),
            build_s=round(build_s, 4),
            index_bytes=0 if index is None else self.path(plan).stat().st_size,
            lists_per_root=plan.lists_per_root,
            verdict="" if measured.index_recall_at_k >= self._target else "below the target",
        )
