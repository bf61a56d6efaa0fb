"""The signals: what each one says, which way it may go, and what to do when it is out of its limits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

__all__ = ["FAMILIES", "KINDS", "SHARES", "Kind", "Measured", "diagnosis", "order_of"]

# From the cause to the effect: of signals that leave their limits together, the first family is where to look.
FAMILIES = ("operation", "requests", "features", "predictions", "exposure", "feedback", "service")
Side = Literal["high", "both", "none"]


class Kind(NamedTuple):
    """What a signal is.

    Attributes:
        family: of FAMILIES.
        side: where it has a limit; "none": it is only told.
        meaning: one sentence, after "{slice}:" where it has slices.
        of_version: whether values of one version say nothing of another's, since they are compared with its profile.
    """

    family: str
    side: Side
    meaning: str
    of_version: bool = False


class Measured(NamedTuple):
    """A signal of one window.

    Attributes:
        signal: of KINDS.
        slice: of what, such as a column; "" where there is one.
        value: NaN where there was nothing to measure.
        noise: what chance alone would give, subtracted from the value of a distance; else 0.
        spread: how far chance alone moves the value, one standard deviation.
        num: rows or values.
        effective: users of equal weight that they are worth; rows of one user are one taste.
        is_enough: whether there are enough of them to judge the value.
    """

    signal: str
    slice: str
    value: float
    noise: float = 0.0
    spread: float = 0.0
    num: int = 0
    effective: float = 0.0
    is_enough: bool = True


KINDS: Mapping[str, Kind] = {
    "replay_mismatch": Kind("operation", "high", "slates that the version's files do not give again"),
    "clock_jumps": Kind("operation", "high", "requests at which the clock of the server had jumped"),
    "not_live": Kind("operation", "high", "slates that know no live event, since the state was away"),
    "event_age_s": Kind("operation", "high", "seconds since the user's latest event, where it is newest"),
    "model_age_days": Kind("operation", "none", "days since the version was exported"),
    "data_age_days": Kind("operation", "none", "days since the latest event that the version knows"),
    "errors": Kind("requests", "high", "requests that were refused"),
    "retries": Kind("requests", "high", "requests whose id came again within ten minutes"),
    "unknown_users": Kind("requests", "both", "requests of users that the version does not know"),
    "unknown_recent": Kind("requests", "high", "recent items that the version does not know"),
    "recent_length": Kind("requests", "both", "recent items a request"),
    "slate_size": Kind("requests", "both", "items that a request asks for"),
    "null_share": Kind("requests", "both", "requests without the column"),
    "other_share": Kind("requests", "high", "requests with a value that training did not have often", True),
    "column_psi": Kind("requests", "high", "distance of the column from training, PSI", True),
    "feature_null": Kind("features", "both", "requests for which the feature is null"),
    "feature_oov": Kind("features", "high", "requests for which the feature is out of vocabulary", True),
    "feature_psi": Kind("features", "high", "distance of the encoded feature from training, PSI", True),
    "query_drift": Kind("features", "high", "1 - cosine of the mean query embedding and training's", True),
    "query_js": Kind("features", "high", "distance of the query embeddings from training's, Jensen-Shannon", True),
    "bad_scores": Kind("predictions", "high", "scores that are no number from 0 to 1"),
    "score_js": Kind("predictions", "high", "distance of the path's scores from training's, Jensen-Shannon", True),
    "path_share": Kind("predictions", "both", "slates that rest on this"),
    "empty": Kind("predictions", "high", "slates without an item"),
    "short": Kind("predictions", "high", "slates with fewer items than were asked for"),
    "duplicates": Kind("predictions", "high", "slates that hold an item twice"),
    "coverage": Kind("exposure", "both", "share of the catalogue in any thousand slates", True),
    "gini": Kind("exposure", "both", "how unequally items are shown, 0 to 1", True),
    "long_tail": Kind("exposure", "both", "items from the less popular half of the positive events", True),
    "new_items": Kind("exposure", "both", "items without a positive event when the version was made", True),
    "popularity_js": Kind("exposure", "high", "distance of the items' popularity from training's", True),
    "popular_overlap": Kind("exposure", "both", "items that a user of whom nothing is known gets too", True),
    "joined_ratio": Kind("feedback", "both", "events of users that found the slate that they are of"),
    "chosen_outside": Kind("feedback", "high", "events of items that the user's slates did not hold"),
    "ctr": Kind("feedback", "both", "impressions that got the label, of those that could have by now"),
    "chosen_rank": Kind("feedback", "both", "mean rank of the items that got the label"),
    "copc": Kind("feedback", "both", "labels observed over the sum of scores, 1 where scores come true", True),
    "ece": Kind("feedback", "high", "mean distance of scores and the rates at which they come true", True),
    "estimate_error": Kind("feedback", "both", "how far the estimate before the labels was from what came"),
    # Last: where anything else has changed too, that is why requests take longer.
    "service_ms": Kind("service", "high", "milliseconds that the model has a request"),
}

# Shares of requests, slates or events. One slate that the files do not give again is one too many: it is none of them.
SHARES = frozenset(
    (
        *("errors", "retries", "clock_jumps", "unknown_users", "unknown_recent", "null_share", "other_share"),
        *("feature_null", "feature_oov", "bad_scores", "path_share", "empty", "short", "duplicates"),
        *("long_tail", "new_items", "popular_overlap", "not_live", "joined_ratio", "chosen_outside"),
    )
)


def diagnosis(folder: Path, name: str) -> str:
    """The command that says more of a signal.

    Args:
        folder: MON.
        name: of the signal, with its slice.
    """
    return f"cascade monitor {folder} show {name}"


def order_of(signal: str) -> tuple[int, int]:
    """By which signals are sorted: the cause first."""
    return FAMILIES.index(KINDS[signal].family), list(KINDS).index(signal)
