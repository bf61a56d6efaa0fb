"""Keys of [data], [split] and [shop] that have no effect on where the tables come from, or on how they are split."""

from __future__ import annotations

from collections.abc import Iterator

from workflows.core.given import Unused
from workflows.tables.config import DataConfig, SplitConfig

__all__ = ["unused_by_config", "unused_by_valid"]

READ = {
    "time": ("valid_fraction", "test_fraction"),
    "leave_last_out": (),
    "column": ("column", "valid_fraction"),
    "files": ("valid_fraction",),
}


def unused_by_config(data: DataConfig, split: SplitConfig) -> Iterator[Unused]:
    """What the config alone tells."""
    if data.source != "shop":
        yield Unused("shop", f"data.source = {data.source!r}", "drop it, or set data.source = 'shop'")
    if data.source == "shop" or not data.items:
        why = "the simulated shop has no unknown items" if data.source == "shop" else "data.items is not given"
        yield Unused("data.unknown_items", why, "drop it")
    for key in ("column", "valid_fraction", "test_fraction"):
        if key not in READ[split.by]:
            reading = [f"{by!r}" for by, keys in READ.items() if key in keys]
            yield Unused(
                f"split.{key}", f"split.by = {split.by!r}", f"drop it, or set split.by = {' or '.join(reading)}"
            )


def unused_by_valid(split: SplitConfig) -> Iterator[Unused]:
    """What has no effect where a given split ("column", "files") has valid events."""
    if split.by in ("column", "files"):
        yield Unused("split.valid_fraction", "the given split has valid events", "drop it")
