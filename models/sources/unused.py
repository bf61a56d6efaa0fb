"""Keys of [sources] that have no effect where a source cannot be fitted, or where no place is chosen."""

from __future__ import annotations

from collections.abc import Iterator

from models.sources.config import SourcesConfig
from workflows.core.given import Unused

__all__ = ["unused_by_config", "unused_without_cold_items", "unused_without_users"]


def unused_by_config(config: SourcesConfig, *, ordered: bool, has_features: bool) -> Iterator[Unused]:
    """What the config alone tells.

    Args:
        config: the section.
        ordered: whether the events have timestamps.
        has_features: whether the items have features beside their id.
    """
    if not ordered:
        yield Unused("sources.trending", "without data.timestamp nothing is trending", "set data.timestamp, or drop it")
        if not config.latest.column:
            for key in ("weight", "quota"):
                why = "neither data.timestamp nor sources.latest.column says what is new"
                yield Unused(f"sources.latest.{key}", why, "set one of them, or drop it")
    if not has_features:
        yield Unused("sources.content", "there is no features.items to go by", "give the items features, or drop it")
    places = [config.popularity, config.trending, config.latest, config.content, *config.own.values()]
    for key in ("weight", "quota"):
        if "auto" not in [getattr(place, key) for place in places]:
            yield Unused(f"sources.{key}s", f"every source has a {key} that is set", "drop it, or set one to 'auto'")


def unused_without_cold_items(config: SourcesConfig) -> Iterator[Unused]:
    """What has no effect where every item has more events than `content.max_events`."""
    why = f"every item has more than sources.content.max_events = {config.content.max_events} positives"
    for key in ("weight", "quota", "l2", "max_columns", "max_items"):
        yield Unused(f"sources.content.{key}", why, "raise that, or drop it")


def unused_without_users() -> Iterator[Unused]:
    """What has no effect where no positive of the valid split is new to its user."""
    why = "no positive of the valid split is new to its user, so that no place is chosen"
    for key in ("weights", "quotas", "validation_users"):
        yield Unused(f"sources.{key}", why, "drop it")
