"""What can be refused from the [features] section alone, before any table is opened."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from workflows.core.errors import ConfigError
from workflows.features.config import FeaturesConfig, FeatureSpec
from workflows.features.schema import HISTORY, ITEM_ID, USER_ID

__all__ = ["RESERVED", "check_features", "named_specs"]

# Columns of the prepared events, and inputs and outputs of the models and of the server: no feature, context, label or
# position column may hide one.
RESERVED = frozenset(
    (
        *(USER_ID, ITEM_ID, HISTORY, "user_row", "item_row", "at", "history", "exclude_item_ids", "slate_size"),
        *("query", "pair", "logit", "fields", "hidden", "retrieval_score", "score", "num_items", "path"),
    )
)
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")


def named_specs(config: FeaturesConfig) -> Iterator[tuple[str, str, FeatureSpec]]:
    """(table, feature name, spec) of every feature; table is "users", "items" or "context"."""
    for table in ("users", "items", "context"):
        for name, spec in getattr(config, table).items():
            yield table, name, spec


def check_features(config: FeaturesConfig) -> None:
    """Refuse names and specs that cannot work.

    Raises:
        ConfigError: a reserved or unusable name, a name on two sides, boundaries that are missing or do not ascend, an
            empty separator, or a list as context.
    """
    seen: dict[str, str] = {}
    for table, name, spec in named_specs(config):
        key = f"features.{table}.{name}"
        if name in RESERVED:
            raise ConfigError(f"{key}: {name!r} is a reserved name ({', '.join(sorted(RESERVED))}); rename the column")
        if not NAME.fullmatch(name):
            raise ConfigError(
                f"{key}: a feature name must start with a letter and hold letters, digits, '_', '.' and '-' only; "
                "rename the column"
            )
        if name in seen:
            raise ConfigError(f"{key}: features.{seen[name]} has a feature of the same name; rename one of the columns")
        seen[name] = table
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
