"""The [features] section."""

from __future__ import annotations

from typing import Literal

from workflows.core.device import DeviceKind
from workflows.core.section import Count, NonNegative, Positive, Section

__all__ = ["FeatureSpec", "FeaturesConfig", "StreamFeature"]


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


class StreamFeature(Section, frozen=True):
    """What happened lately, as a feature: one of `count`, `since`, `rate`, `share_of`.

    What is counted is a label of `data.labels`; "impression", which every row of the events is, where they have labels;
    or "any". In training a value is what was known before the row's timestamp; in service, what the state of
    live events knows.

    Attributes:
        key: whose events: of the user who asks, or of the item that is ranked.
        count: how many events of this label there were, in each of `windows`.
        since: seconds since the latest event of this label; of users alone.
        rate: two labels: how many of the first there were to one of the second, in each of `windows`.
        share_of: a categorical feature of the items: of the user's latest items, how many have the candidate's value;
            `key` is "user".
        last: how many items of the history that looks at.
        windows: lengths of time, such as "1h" or "7d", each a multiple of a minute; the tail of a window moves by a
            twelfth of it.
        prior: events of the second label that a rate begins with, at the rate of all train events.
        ttl: a length of time; a user whose latest event is longer ago has a value that is not known. Absent: never.
    """

    key: Literal["user", "item"]
    count: str | None = None
    since: str | None = None
    rate: list[str] | None = None
    share_of: str | None = None
    last: Count = 20
    windows: list[str] = []
    prior: Positive = 10.0
    ttl: str | None = None


class FeaturesConfig(Section, frozen=True):
    """Which columns of which table become features.

    Attributes:
        users, items, context: feature name (a column of that table) -> how it is encoded.
        stream: feature name -> what happened lately; needs [stream] and timestamps.
        history_length: how many recent items the models see (L). 0: as many as three of four users have positive events
            in train, but at least 20, and at most 50 where these have timestamps and 100 where nothing orders them.
        num_partitions: Dask partitions; 0 lets the size of the data decide.
        device: where NVTabular runs.
    """

    users: dict[str, FeatureSpec] = {}
    items: dict[str, FeatureSpec] = {}
    context: dict[str, FeatureSpec] = {}
    stream: dict[str, StreamFeature] = {}
    history_length: NonNegative = 0
    num_partitions: NonNegative = 0
    device: DeviceKind = "auto"
