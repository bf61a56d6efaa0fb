"""Keys of [index] that have no effect with the kind that is forced, or on a small catalogue."""

from __future__ import annotations

from collections.abc import Iterator

from models.index.config import IndexConfig
from workflows.core.given import Unused

__all__ = ["unused_by_config", "unused_on_catalogue"]

OF_AUTO = ("exact_up_to", "exact_within_ms")
OF_A_COMPARISON = ("sample_items", "max_build_s", "max_index_mb")
# Kinds with one way to build them: there is nothing to compare.
OF_ONE_PLAN = ("ivf_pq", "hnsw")


def unused_by_config(config: IndexConfig) -> Iterator[Unused]:
    """What the config alone tells."""
    if config.kind == "auto":
        return
    keys = [*OF_AUTO]
    if config.kind in (*OF_ONE_PLAN, "exact"):
        keys += OF_A_COMPARISON
    if config.kind == "exact":
        keys.append("target_index_recall")
    for key in keys:
        yield Unused(f"index.{key}", f"index.kind = {config.kind!r}", "drop it, or set index.kind = 'auto'")


def unused_on_catalogue(config: IndexConfig, num_items: int) -> Iterator[Unused]:
    """What the size of the catalogue tells besides."""
    from models.index.factory import FEWEST_ITEMS

    size = f"the catalogue has {num_items:,} items"
    if num_items < FEWEST_ITEMS and config.kind not in ("auto", "exact"):
        why = f"{size}, and fewer than {FEWEST_ITEMS} are always searched exactly"
        yield Unused("index.kind", why, "set it to 'exact' or 'auto'")
    if config.kind == "auto" and num_items <= max(config.exact_up_to, FEWEST_ITEMS - 1):
        why = f"{size} and is searched exactly"
        if config.exact_up_to < num_items:
            yield Unused("index.exact_up_to", f"{why}, as any of fewer than {FEWEST_ITEMS} is", "drop it")
        remedy = f"drop it, or set index.exact_up_to below {num_items}" if num_items >= FEWEST_ITEMS else "drop it"
        for key in ("exact_within_ms", "target_index_recall", *OF_A_COMPARISON):
            yield Unused(f"index.{key}", why, remedy)
    if config.kind not in ("auto", "exact", *OF_ONE_PLAN) and num_items <= config.sample_items:
        for key in ("max_build_s", "max_index_mb"):
            why = f"{size}, which are compared without a sample (index.sample_items = {config.sample_items:,})"
            yield Unused(f"index.{key}", why, "drop it, or set index.kind = 'auto'")
