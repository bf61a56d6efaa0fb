"""What can be refused from the [features] section alone, before any table is opened."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from workflows.core.errors import ConfigError
from workflows.features.config import FeaturesConfig, FeatureSpec
from workflows.features.schema import HISTORY, ITEM_ID, USER_ID
from workflows.tables.check import OWN_COLUMNS

__all__ = ["EVENT_COLUMNS", "REQUEST_NAMES", "TABLE_COLUMNS", "check_features", "named_specs"]

# Columns that are added to every table while it is read.
TABLE_COLUMNS = frozenset(OWN_COLUMNS)
# Columns of the prepared events, which no label, position or context column beside them may be called.
EVENT_COLUMNS = frozenset(("user_row", "item_row", "at", "history", HISTORY, *TABLE_COLUMNS))
# Inputs and outputs of the served model, beside which a context column is one more input under its own name.
REQUEST_NAMES = frozenset(
    (
        *(USER_ID, HISTORY, "exclude_item_ids", "slate_size", "min_offset"),
        *(ITEM_ID, "score", "num_items", "path", "stream_offset", "state_age_ms"),
    )
)


def named_specs(config: FeaturesConfig) -> Iterator[tuple[str, str, FeatureSpec]]:
    """(table, feature name, spec) of every feature; table is "users", "items" or "context"."""
    for table in ("users", "items", "context"):
        for name, spec in getattr(config, table).items():
            yield table, name, spec


def check_features(config: FeaturesConfig) -> None:
    """Refuse names and specs that cannot work.

    Raises:
        ConfigError: a name that no table or request can have, boundaries that are missing or do not ascend, an empty
            separator, or a list as context.
    """
    for table, name, spec in named_specs(config):
        key = f"features.{table}.{name}"
        if not name or "\0" in name:
            raise ConfigError(
                f"features.{table} has the key {name!r}: a column has a name, without null bytes; rename it"
            )
        if name.lower() in TABLE_COLUMNS:
            raise ConfigError(f"{key}: {name!r} is a column that Cascade adds to the table itself; rename yours")
        if table == "context" and name in REQUEST_NAMES:
            raise ConfigError(
                f"{key}: a request has an input or output {name!r} already, and would carry this column under the same "
                f"name; rename the column (such names are {', '.join(sorted(REQUEST_NAMES))})"
            )
        _check_spec(key, table, spec)


def _check_spec(key: str, table: str, spec: FeatureSpec) -> None:
    cuts = spec.boundaries
    if spec.kind == "bucketised" and not cuts:
        raise ConfigError(f"{key}.boundaries: a bucketised feature needs at least one boundary, got []")
    if any(not low < high for low, high in itertools.pairwise(cuts)):
        raise ConfigError(f"{key}.boundaries: must ascend, got {cuts}")
    if spec.kind == "list" and not spec.separator:
        raise ConfigError(f"{key}.separator: must hold at least one character, got ''")
    if spec.kind == "list" and table == "context":
        raise ConfigError(f"{key}: a context feature is one value a request; use another kind than 'list'")
