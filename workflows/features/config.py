"""The [features] section."""

from __future__ import annotations

from typing import Literal

from workflows.core.device import DeviceKind
from workflows.core.section import Count, NonNegative, Section

__all__ = ["FeatureSpec", "FeaturesConfig"]


class FeatureSpec(Section, frozen=True):
    """How one column becomes a model input.

    Attributes:
        kind: "categorical": Categorify codes; "continuous": filled and normalised float, at most 1,000 standard
            deviations from the mean (NaN and infinite values are missing ones); "bucketised": a number cut
            at `boundaries` into codes; "hashed": a code from a stable hash modulo `num_buckets`, for vocabularies too
            large to store; "list": several categorical values, pooled by a masked mean.
        boundaries: ascending cuts, for "bucketised".
        num_buckets: for "hashed".
        max_length: values kept of a list, for "list".
        separator: splits a string column into a list, for "list" (ignored where the column already holds lists).
        min_frequency: values seen fewer times in training share the out-of-vocabulary code.
        log: take log(1 + x) first, for "continuous"; values of -1 or less are missing ones.
    """

    kind: Literal["categorical", "continuous", "bucketised", "hashed", "list"] = "categorical"
    boundaries: list[float] = []
    num_buckets: Count = 100_000
    max_length: Count = 8
    separator: str = ","
    min_frequency: NonNegative = 0
    log: bool = False


class FeaturesConfig(Section, frozen=True):
    """Which columns of which table become features.

    Attributes:
        users, items, context: feature name (a column of that table) -> how it is encoded.
        history_length: how many recent items the models see (L). 0: as many as three of four users have positive events
            in train, but at least 20, and at most 50 where these have timestamps and 100 where nothing orders them.
        num_partitions: Dask partitions; 0 lets the size of the data decide.
        device: where NVTabular runs.
    """

    users: dict[str, FeatureSpec] = {}
    items: dict[str, FeatureSpec] = {}
    context: dict[str, FeatureSpec] = {}
    history_length: NonNegative = 0
    num_partitions: NonNegative = 0
    device: DeviceKind = "auto"
