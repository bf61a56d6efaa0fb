"""The [index] section."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from workflows.core.device import DeviceKind
from workflows.core.section import Count, NonNegative, Positive, Section

__all__ = ["IndexConfig"]


class IndexConfig(Section, frozen=True):
    """The index over the item embeddings.

    Attributes:
        kind: "auto" measures every kind with the filters on and takes the cheapest that reaches the target; "exact",
            "ivf", "ivf_pq", "ivf_fastscan" or "hnsw" forces one, its search settings still tuned to the target.
        exact_up_to: catalogue size up to which "auto" searches exactly without comparing.
        exact_within_ms: "auto" searches exactly where the cheapest kind would save less than this a query.
        target_index_recall: index_recall_at_k to reach, with the filters on.
        recall_cutoff: k of index_recall_at_k.
        num_queries: queries sampled for the measurement.
        sample_items: larger catalogues are compared on a sample of so many items; the winner is tuned on the whole.
        max_build_s: kinds whose build would take longer, by what the sample took, are left out.
        max_index_mb: kinds whose index would hold more beside the embeddings, in MiB, are left out.
        device: where lists are learnt and the index is built; "auto": on a GPU where FAISS sees one.
    """

    kind: Literal["auto", "exact", "ivf", "ivf_pq", "ivf_fastscan", "hnsw"] = "auto"
    exact_up_to: NonNegative = 5_000
    exact_within_ms: Positive = 0.1
    target_index_recall: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.99
    recall_cutoff: Count = 100
    num_queries: Count = 1_000
    sample_items: Count = 100_000
    max_build_s: Positive = 900.0
    max_index_mb: Positive = 8_192.0
    device: DeviceKind = "auto"
