"""The [index] section."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from workflows.core.device import DeviceKind
from workflows.core.section import Count, NonNegative, Section

__all__ = ["IndexConfig"]


class IndexConfig(Section, frozen=True):
    """The FAISS index over the item embeddings.

    Attributes:
        kind: "auto" is exact up to `exact_up_to` items and IVF above.
        exact_up_to: catalogue size up to which "auto" searches exactly.
        target_index_recall: the smallest nprobe is taken whose index_recall_at_k on sampled queries reaches it.
        recall_cutoff: k of index_recall_at_k.
        num_queries: queries sampled for the measurement.
    """

    kind: Literal["auto", "exact", "ivf"] = "auto"
    exact_up_to: NonNegative = 50_000
    target_index_recall: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.99
    recall_cutoff: Count = 100
    num_queries: Count = 1_000
    device: DeviceKind = "auto"
