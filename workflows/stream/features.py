"""[features.stream] resolved: the windows that records keep, and the columns that are made of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from runtime.stream.features import COUNT, RATE, SHARE, SINCE, LiveFeature
from runtime.stream.windows import ANY, IMPRESSIONS, MIN_SECONDS, Window
from workflows.core.errors import ConfigError
from workflows.features.config import FeaturesConfig, FeatureSpec, StreamFeature
from workflows.stream.duration import seconds_of

__all__ = [
    "ONLY_LABEL",
    "LiveColumn",
    "check_labels",
    "column_spec",
    "live_columns",
    "since_labels",
    "windows_of",
    "with_live_context",
]

# The label of events where the tables have none: each of them is a positive.
ONLY_LABEL = "interaction"
# A hundred years; in nanoseconds an int64 holds hardly three times as much.
LONGEST_DAYS = 36_500
# Cuts of counts and of seconds: each code spans about a factor of two or more.
SHARE_OF = "share_of"
COUNTS = [0.5, 1.5, 2.5, 4.5, 8.5, 16.5, 32.5, 64.5, 128.5, 256.5, 512.5, 1024.5]
SECONDS = [60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0, 259_200.0, 604_800.0, 2_592_000.0]
RATES = [0.005, 0.01, 0.02, 0.04, 0.08, 0.12, 0.16, 0.24, 0.32, 0.5, 0.75]


class LiveColumn(msgspec.Struct, frozen=True):
    """One column of a stream feature: the feature's name, and the window's where it has one.

    Attributes:
        key: "user" or "item"; "pair" for a share.
        feature: what it is made of; of a rate without its `base`, which the events tell.
    """

    key: str
    feature: LiveFeature

    @property
    def name(self) -> str:
        """Of the column."""
        return self.feature.name

    @property
    def labels(self) -> tuple[str, ...]:
        """What is counted."""
        if self.feature.kind == SHARE:
            return ()
        return (self.feature.label,) if self.feature.kind == SINCE else tuple(w.label for w in self.feature.windows)


def live_columns(features: Mapping[str, StreamFeature]) -> list[LiveColumn]:
    """The columns of all stream features, in the order of the config.

    Raises:
        ConfigError: a feature says none or several of count, since and rate, or has windows that cannot be; two columns
            have one name.
    """
    made: dict[str, str] = {}
    columns = []
    for name, feature in features.items():
        for column in _columns(name, feature):
            # Files tell names apart that differ in case; SQL does not.
            if (other := made.setdefault(column.name.lower(), name)) != name:
                raise ConfigError(
                    f"features.stream: {other} and {name} both make a column {column.name!r}; rename one of them"
                )
            columns.append(column)
    return columns


def windows_of(columns: Sequence[LiveColumn], key: str) -> tuple[Window, ...]:
    """The windows that the records of users or items keep."""
    return tuple(dict.fromkeys(window for column in columns if column.key == key for window in column.feature.windows))


def since_labels(columns: Sequence[LiveColumn]) -> tuple[str, ...]:
    """The labels of which a user's record keeps when one last came."""
    return tuple(dict.fromkeys(column.feature.label for column in columns if column.feature.kind == SINCE))


def column_spec(column: LiveColumn) -> FeatureSpec:
    """How a column of a user becomes a model input: by its size, and with a code for "not known"."""
    cuts = {COUNT: COUNTS, SINCE: SECONDS, RATE: RATES}[column.feature.kind]
    return FeatureSpec(kind="bucketised", boundaries=cuts)


def check_labels(columns: Sequence[LiveColumn], labels: Sequence[str]) -> None:
    """Refuse labels that no event has.

    Args:
        columns: of the stream features.
        labels: data.labels.

    Raises:
        ConfigError: names the feature and the labels there are; or a label has a name that means more than it.
    """
    known = [ANY, *(([*labels, IMPRESSIONS]) if labels else [ONLY_LABEL])]
    for column in columns:
        for label in column.labels:
            if label in (ANY, IMPRESSIONS) and label in labels:
                meaning = "every event" if label == ANY else "every row of the events"
                raise ConfigError(
                    f"features.stream: {column.name} counts {label!r}, which means {meaning} and is one of data.labels "
                    "as well; give that label another name"
                )
            if label not in known:
                raise ConfigError(
                    f"features.stream: {column.name} counts {label!r}, which is no label; there are {', '.join(known)}"
                )


def with_live_context(features: FeaturesConfig, live: Sequence[LiveColumn]) -> FeaturesConfig:
    """The features with the stream's columns of users as further context: what a query brings beside the user."""
    columns = {column.name: column_spec(column) for column in live if column.key == "user"}
    return msgspec.structs.replace(features, context={**features.context, **columns})


def _columns(name: str, feature: StreamFeature) -> Iterator[LiveColumn]:
    key = f"features.stream.{name}"
    if not name or "\0" in name:
        raise ConfigError(f"features.stream has the key {name!r}: a feature has a name, without null bytes; rename it")
    said = [kind for kind in (COUNT, SINCE, RATE, SHARE_OF) if getattr(feature, kind) is not None]
    if len(said) != 1:
        given = f"got {' and '.join(said)}" if said else "got none of them"
        raise ConfigError(f"{key}: a stream feature has one of count, since, rate and share_of, {given}")
    kind = said[0]
    if kind == SHARE_OF:
        yield _share(key, name, feature)
        return
    labels = tuple(feature.rate) if feature.rate is not None else (getattr(feature, kind),)
    if kind == RATE and len(labels) != 2:
        raise ConfigError(f"{key}.rate: expected two labels, such as ['click', 'impression'], got {list(labels)}")
    if kind == RATE and len(set(labels)) == 1:
        raise ConfigError(f"{key}.rate: {labels[0]!r} to itself says nothing; give two labels")
    if not math.isfinite(feature.prior):
        raise ConfigError(f"{key}.prior: expected a finite number, got {feature.prior}")
    ttl_s = 0 if feature.ttl is None else _length(f"{key}.ttl", feature.ttl)
    if ttl_s and feature.key != "user":
        raise ConfigError(f"{key}.ttl is of users alone; drop it, as the windows of an item end by themselves")
    if kind == SINCE:
        if feature.key != "user":
            raise ConfigError(f"{key}.since is of users alone; set key = 'user', or count the item's events in windows")
        if feature.windows:
            raise ConfigError(f"{key}.windows has no effect, since `since` looks at the latest event; drop it")
        yield LiveColumn(feature.key, LiveFeature(name, kind, label=labels[0], ttl_s=ttl_s))
        return
    if not feature.windows:
        raise ConfigError(f"{key}.windows: expected at least one length of time, such as '1h', got []")
    lengths = {text: _seconds(key, text) for text in feature.windows}
    for (first, seconds), (second, others) in itertools.combinations(lengths.items(), 2):
        if seconds == others:
            raise ConfigError(f"{key}.windows: {first!r} and {second!r} are one length of time; drop one of them")
    if len(lengths) < len(feature.windows):
        raise ConfigError(f"{key}.windows names a length of time twice, got {feature.windows}; name it once")
    for text, seconds in lengths.items():
        windows = tuple(Window(label, seconds) for label in labels)
        prior = feature.prior if kind == RATE else 0.0
        yield LiveColumn(feature.key, LiveFeature(f"{name}_{text}", kind, windows, prior=prior, ttl_s=ttl_s))


def _share(key: str, name: str, feature: StreamFeature) -> LiveColumn:
    if feature.key != "user":
        raise ConfigError(f"{key}.share_of looks at the history of users; set key = 'user'")
    if feature.windows or feature.ttl is not None:
        raise ConfigError(
            f"{key}: windows and ttl have no effect on share_of, which looks at the latest items; drop them"
        )
    return LiveColumn("pair", LiveFeature(name, SHARE, label=str(feature.share_of), last=feature.last))


def _seconds(key: str, text: str) -> int:
    seconds = _length(f"{key}.windows", text)
    if seconds % MIN_SECONDS:
        raise ConfigError(f"{key}.windows: a window is a multiple of a minute, got {text!r}")
    return seconds


def _length(key: str, text: str) -> int:
    try:
        seconds = seconds_of(text)
    except ValueError as error:
        raise ConfigError(f"{key}: {error}") from None
    if seconds > LONGEST_DAYS * seconds_of("1d"):
        raise ConfigError(f"{key}: a length of time is at most {LONGEST_DAYS}d, got {text!r}")
    return seconds
