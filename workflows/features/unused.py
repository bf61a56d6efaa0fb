"""Keys of a feature's spec that its kind, or its column, does not read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from workflows.core.given import Unused
from workflows.features.checks import named_specs
from workflows.features.config import FeaturesConfig, FeatureSpec

__all__ = ["unused_by_kind", "unused_by_lists"]

READ = {
    "categorical": ("min_frequency",),
    "continuous": ("log",),
    "bucketised": ("boundaries",),
    "hashed": ("num_buckets",),
    "list": ("max_length", "separator", "min_frequency"),
}


def unused_by_kind(config: FeaturesConfig) -> Iterator[Unused]:
    """Keys of another kind than the feature's."""
    for table, name, spec in named_specs(config):
        for key in FeatureSpec.__struct_fields__:
            if key != "kind" and key not in READ[spec.kind]:
                reading = [f"{kind!r}" for kind, keys in READ.items() if key in keys]
                yield Unused(
                    f"features.{table}.{name}.{key}",
                    f"features.{table}.{name}.kind = {spec.kind!r}",
                    f"drop it, or set the kind to {' or '.join(reading)}",
                )
    for name, feature in config.stream.items():
        if feature.rate is None:
            key = f"features.stream.{name}.prior"
            yield Unused(key, "only a rate has events that it begins with", "drop it, or give a rate")


def unused_by_lists(config: FeaturesConfig, data: Path) -> Iterator[Unused]:
    """Separators of columns that hold lists already.

    Args:
        config: the section.
        data: the folder of the data stage.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for table, name, spec in named_specs(config):
        path = data / f"{table}.parquet"
        if spec.kind != "list" or not path.is_file() or name not in (schema := pq.read_schema(path)).names:
            continue
        kind = schema.field(name).type
        if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            key = f"features.{table}.{name}.separator"
            yield Unused(key, f"column {name!r} of the {table} holds lists, which need no splitting", "drop it")
