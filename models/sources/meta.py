"""sources/meta.json."""

from __future__ import annotations

from typing import Any

import msgspec

from workflows.core.errors import ArtefactError
from workflows.core.run import Run

__all__ = ["SourceRecord", "SourcesMeta", "load_sources"]

FORMAT_VERSION = 1


class SourceRecord(msgspec.Struct, frozen=True):
    """One source.

    Attributes:
        step: "module:class" of what the server runs.
        weight: of its score in the merged retrieval score; 0 where it is not served.
        quota: share of the candidates that are its best.
        setting: what was chosen of its own settings: half-life in days, ridge.
        recall_alone: on valid, of as many items as the chain retrieves.
        measured: {"weight", "quota", "gain", "low", "high", "earned"} of every place that was tried.
        skipped: why it cannot be fitted on this data; null where it can.
    """

    step: str
    weight: float
    quota: float
    setting: float | None = None
    recall_alone: float = 0.0
    measured: list[dict[str, Any]] = []
    skipped: str | None = None


class SourcesMeta(msgspec.Struct, frozen=True):
    """Every source beside towers and lists, in the order in which they were tried.

    Attributes:
        fallback: the source for users of whom nothing is known.
        sources: by name.
        format_version: 1.
    """

    fallback: str
    sources: dict[str, SourceRecord]
    format_version: int = FORMAT_VERSION


def load_sources(run: Run) -> SourcesMeta:
    """Read sources/meta.json.

    Raises:
        ArtefactError: it is missing or cannot be read.
    """
    path = run.folder("sources") / "meta.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=SourcesMeta)
    except (OSError, msgspec.DecodeError) as error:
        raise ArtefactError(f"{path} cannot be read ({error}); run cascade fit-sources again") from None
