"""meta.json of index/."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec
import numpy as np

from models.index.trial import Tried
from runtime.index.settings import Settings
from workflows.core.record import Meta

if TYPE_CHECKING:
    from models.index.advise import Advice
    from models.index.workload import Workload

__all__ = ["IndexMeta"]


class IndexMeta(Meta, frozen=True, kw_only=True):
    """How the item embeddings are searched; measured with the filters on, in time of one core (of the clock on a GPU).

    Attributes:
        kind: "exact", "ivf", "ivf_pq", "ivf_fastscan" or "hnsw".
        device: "cpu" or "gpu".
        num_items: N.
        nlist: inverted lists; 0 without.
        nprobe: lists searched.
        ef_search: length of the graph search's queue.
        overfetch: times as many candidates as wanted are fetched by their codes, then ordered by their embeddings.
        lists_per_root: how many lists that is, in sqrt(N).
        index_recall_at_k: share of the exact answers' first `recall_cutoff` items that are found.
        ms_per_query: time of one search, in milliseconds.
        build_s: time of the build, in seconds.
        index_bytes: size of index.faiss.
        recall_cutoff: k of `index_recall_at_k`.
        target_index_recall: the least that the config demands.
        num_queries: how many users' queries were measured.
        num_candidates: items wanted of each.
        share_eligible: share of the items that may be shown.
        mean_blocked: items that a user must not see, on average.
        why: why this kind.
        measured: every kind that was tried.
    """

    stage: ClassVar[str] = "index"

    kind: str
    device: str
    num_items: int
    nlist: int
    nprobe: int
    ef_search: int
    overfetch: int
    lists_per_root: int
    index_recall_at_k: float
    ms_per_query: float
    build_s: float
    index_bytes: int
    recall_cutoff: int
    target_index_recall: float
    num_queries: int
    num_candidates: int
    share_eligible: float
    mean_blocked: float
    why: str
    measured: tuple[Tried, ...]

    @classmethod
    def of(cls, advice: Advice, workload: Workload, target: float) -> IndexMeta:
        """The record of the advice for a workload and a recall target."""
        picked = msgspec.structs.asdict(advice.picked)
        del picked["verdict"]
        return cls(
            **picked,
            recall_cutoff=workload.cutoff,
            target_index_recall=target,
            num_queries=len(workload.queries),
            num_candidates=workload.num_candidates,
            share_eligible=float(workload.eligible.mean()),
            mean_blocked=float(np.mean([len(rows) for rows in workload.blocked])) if workload.blocked else 0.0,
            why=advice.why,
            measured=tuple(advice.measured),
        )

    @property
    def faster_device(self) -> str:
        """Where exact search through CuPy took less than what was picked takes on one core, "gpu"; else "cpu"."""
        on_card = [each.ms_per_query for each in self.measured if each.device == "cupy"]
        return "gpu" if on_card and min(on_card) < self.ms_per_query else "cpu"

    @property
    def settings(self) -> Settings:
        """The part that the server reads."""
        return msgspec.convert(msgspec.to_builtins(self), Settings)
