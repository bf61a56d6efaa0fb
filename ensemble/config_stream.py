"""Combinations of config values that cannot work with live events."""

from __future__ import annotations

from collections.abc import Iterator

from ensemble.config import Config
from ensemble.stream.addresses import address_problems
from runtime.stream.features import COUNT, SHARE
from runtime.stream.fields import FIELDS
from workflows.features.checks import EVENT_COLUMNS
from workflows.features.config import FeaturesConfig
from workflows.stream.features import LiveColumn, check_labels, live_columns
from workflows.tables.config import DataConfig

__all__ = ["stream_problems"]

# Kinds of features that are one code.
CODES = ("categorical", "hashed", "bucketised")


def stream_problems(config: Config) -> Iterator[str]:
    """Yield one sentence for each problem of [stream] and [features.stream].

    Raises:
        ConfigError: a feature cannot be made.
    """
    columns = live_columns(config.features.stream)
    if config.stream is not None:
        yield from address_problems(config.stream)
        if config.data.stock in FIELDS:
            yield (
                f"data.stock = {config.data.stock!r} is the name of a field of live events ({', '.join(FIELDS)}); give "
                "the column another name in the items table, or take out [stream]"
            )
    if config.stream is not None and (wanted := config.stream.popular_by) is not None:
        counts = [c.name for c in columns if c.key == "item" and c.feature.kind == COUNT]
        if wanted not in counts:
            known = f"there are {', '.join(counts)}" if counts else "there is none"
            yield f"stream.popular_by = {wanted!r} is no count of items in features.stream; {known}"
    if columns:
        if config.stream is None:
            yield "features.stream needs live events, and the config has no [stream]; add it, or drop the features"
        if config.data.timestamp is None:
            yield "features.stream needs data.timestamp: windows are lengths of time"
        if "merlin" in config.chain.layouts:
            yield "features.stream cannot be served by the layout 'merlin', which knows no live events; drop one"
    yield from _shares(columns, config.features)
    yield from _names(columns, config.data)
    check_labels(columns, list(config.data.labels))


def _shares(columns: list[LiveColumn], features: FeaturesConfig) -> Iterator[str]:
    """Shares of a column that has no one code an item."""
    coded = [name for name, spec in features.items.items() if spec.kind in CODES]
    for column in columns:
        if column.feature.kind == SHARE and column.feature.label not in coded:
            yield (
                f"features.stream.{column.name}.share_of = {column.feature.label!r} is no feature of items with one "
                f"code an item; there are {', '.join(coded) or 'none'}"
            )


def _names(columns: list[LiveColumn], data: DataConfig) -> Iterator[str]:
    """Columns that would stand in the prepared events beside others of the same name."""
    named = (data.user_id, data.item_id, data.timestamp, data.position, data.propensity, *data.labels, *data.context)
    taken = {name.lower() for name in (*named, *EVENT_COLUMNS) if name}
    for column in columns:
        if column.name.lower() in taken:
            yield (
                f"features.stream makes a column {column.name!r}, and the events have a column of that name; rename "
                "the feature"
            )
