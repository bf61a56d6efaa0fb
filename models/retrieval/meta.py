"""meta.json of retrieval/ and of retrieval/train/."""

from __future__ import annotations

from typing import ClassVar

from workflows.core.record import Meta

__all__ = ["RetrievalMeta"]


class RetrievalMeta(Meta, frozen=True, kw_only=True):
    """The two towers.

    Attributes:
        embedding_dim: D, the length of query and item embeddings.
        temperature: that the inner products were divided by in training.
        query_inputs: the features that the query tower reads, in the order of the schema.
    """

    stage: ClassVar[str] = "retrieval"

    embedding_dim: int
    temperature: float
    query_inputs: tuple[str, ...]
