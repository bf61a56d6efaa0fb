"""meta.json of sources/."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from workflows.core.record import Meta

__all__ = ["PlaceTried", "SourceRecord", "SourcesMeta"]


class PlaceTried(msgspec.Struct, frozen=True):
    """A place that was tried on the valid split.

    Attributes:
        weight, quota: of the source.
        gain: in recall over the chain without the source.
        low, high: its 95% interval over users; null where resampling users does not estimate one.
        earned: whether the gain is above chance.
    """

    weight: float
    quota: float
    gain: float
    low: float | None
    high: float | None
    earned: bool


class SourceRecord(msgspec.Struct, frozen=True):
    """One source.

    Attributes:
        step: "module:class" of what the server runs.
        weight: of its score in the merged retrieval score; 0 where it has none.
        quota: share of the candidates that are its best, whatever their merged score.
        setting: what was chosen of its own settings, the half-life in days or the ridge; null where it has none.
        recall_alone: on valid, of as many items as the chain retrieves.
        measured: the places that were tried.
        skipped: why it cannot be fitted on this data; null where it can.
    """

    step: str
    weight: float
    quota: float
    setting: float | None = None
    recall_alone: float = 0.0
    measured: tuple[PlaceTried, ...] = ()
    skipped: str | None = None

    @property
    def is_served(self) -> bool:
        """Whether it has a place among the candidates."""
        return bool(self.weight or self.quota)


class SourcesMeta(Meta, frozen=True, kw_only=True):
    """The sources beside towers and lists.

    Attributes:
        fallback: the source for users of whom nothing is known.
        sources: by name, in the order in which they were tried.
    """

    stage: ClassVar[str] = "sources"

    fallback: str
    sources: dict[str, SourceRecord]
