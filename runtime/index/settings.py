"""The kinds of search and their settings, as index/meta.json holds them. The standard library alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from runtime.records import from_record, known_keys

__all__ = ["EXACT", "HNSW", "IVF", "IVF_FASTSCAN", "IVF_PQ", "Settings"]

EXACT, IVF, IVF_PQ, IVF_FASTSCAN, HNSW = "exact", "ivf", "ivf_pq", "ivf_fastscan", "hnsw"
# Items that a graph search compares the query with, for each place in its queue: the links of an item at the bottom.
GRAPH_DEGREE = 32


@dataclass(frozen=True)
class Settings:
    """How an index is searched.

    Attributes:
        kind: "exact" (every item compared), "ivf" (lists of near items), "ivf_pq" (the same, with short codes),
            "ivf_fastscan" (codes so short that registers look them up; FAISS checks no filters there, so more is
            fetched) or "hnsw" (a graph).
        device: "cpu", or "gpu": the index is copied to the first GPU, if there is one; FAISS checks no filters there,
            so more is fetched.
        nprobe: lists searched.
        ef_search: length of the graph search's queue; never below what is fetched.
        overfetch: times as many candidates as wanted are fetched by their codes, then ordered by their embeddings.
        share_eligible: share of the items that were eligible when the others were tuned; 0 where that is not known.
    """

    kind: str = EXACT
    device: str = "cpu"
    nprobe: int = 0
    ef_search: int = 0
    overfetch: int = 1
    share_eligible: float = 0.0

    @classmethod
    def of(cls, meta: Mapping[str, Any], where: str) -> Settings:
        """The part of an object that the server reads.

        Args:
            meta: index/meta.json, or "index" of chain.json.
            where: the file, for the sentence.

        Raises:
            ValueError: a key has another type.
        """
        return from_record(cls, known_keys(cls, meta), where)

    def widened(self, share: float) -> Settings:
        """The settings for a smaller share of eligible items, whose best lie farther out in proportion."""
        factor = max(1.0, self.share_eligible / share) if share > 0 else 1.0
        return replace(self, nprobe=round(self.nprobe * factor), ef_search=round(self.ef_search * factor))

    def compared(self, num_items: int, num_lists: int) -> float:
        """How many items one search looks at, about."""
        if self.kind == HNSW:
            return float(self.ef_search * GRAPH_DEGREE)
        return num_items * min(1.0, self.nprobe / num_lists) if num_lists else 0.0
