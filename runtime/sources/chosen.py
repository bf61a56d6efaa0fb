"""The sources of a chain and the step that merges them, as chain.json names them."""

from __future__ import annotations

from typing import Any

from runtime.sources.base import Source, make_source
from runtime.spec import ChainSpec, SourceSpec
from runtime.steps.merge import Merge

__all__ = ["chosen_sources", "merge_of"]


def chosen_sources(spec: ChainSpec) -> list[Source]:
    """The steps, not opened.

    Raises:
        ValueError: a step does not exist or is no source.
    """
    return [make_source(source.step, _settings(spec, source)) for source in spec.sources]


def merge_of(spec: ChainSpec) -> Merge:
    """The step that makes one list of what they find."""
    records = [
        {"step": s.step, "settings": _settings(spec, s), "weight": s.weight, "quota": s.quota} for s in spec.sources
    ]
    return Merge(records, spec.fallback)


def _settings(spec: ChainSpec, source: SourceSpec) -> dict[str, Any]:
    """A fallback without weight or quota runs for unknown users alone and costs others nothing."""
    return {"only_unknown": True} if source.name == spec.fallback and not (source.weight or source.quota) else {}
