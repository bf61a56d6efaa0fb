"""What the gate looks at and what it says: plain records."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

__all__ = ["GATE_FILE", "Decision", "Evidence", "Quality", "Row", "Scores", "Verdict"]

GATE_FILE = "gate.json"
Verdict = Literal["RELEASE", "HOLD", "REJECT"]
Floats = NDArray[np.float64]


class Row(msgspec.Struct, frozen=True):
    """One thing that must hold.

    Attributes:
        name: in words.
        value: what was measured; null where nothing was.
        limit: what it is compared with.
        met: whether it holds; null where that cannot be told.
        missing: why it cannot be told; null where it can.
        low, high: the 95% interval, where there is one.
        family: of signals, where the cause should be sought; empty: none.
        command: that shows more of it, where it does not hold.
    """

    name: str
    value: float | None
    limit: float | None
    met: bool | None
    missing: str | None = None
    low: float | None = None
    high: float | None = None
    family: str = ""
    command: str | None = None


class Quality(msgspec.Struct, frozen=True):
    """NDCG of both versions for the same users.

    Attributes:
        candidate, served: float64 [U].
        slices: name -> bool [U].
        how: how the served version's was found, for a reader.
    """

    candidate: Floats
    served: Floats
    slices: dict[str, NDArray[np.bool_]] = {}
    how: str = ""


class Scores(msgspec.Struct, frozen=True):
    """Probabilities of both versions for the same rows.

    Attributes:
        labels: [R], 1 or 0.
        candidate, served: float64 [R].
        users: [R], whose row it is.
    """

    labels: NDArray
    candidate: Floats
    served: Floats
    users: NDArray


class Evidence(msgspec.Struct, frozen=True):
    """All that a decision rests on.

    Attributes:
        newest: nanoseconds since 1970 of the candidate's newest event and the served version's; 0: unknown.
        targets: `targets` of the candidate's metrics.json; None: an older one without them.
        quality: NDCG of both; a sentence where it could not be measured.
        scores: probabilities of both; a sentence where they could not be; None: the ranker gives no probabilities.
        num_compared: users whose slates the export compared with brute force, or with the graph's.
        num_differing: of the candidate's own answers, those that were not the same a second time; None: not asked.
        served_age_days: since the served version was exported; None: unknown.
        alarms: signals of the served version that are out of their limits now.
        exported: rows of the candidate's export beside the served version.
        further: rows of requests that were asked again.
    """

    newest: tuple[int, int]
    targets: list[dict[str, Any]] | None
    quality: Quality | str
    scores: Scores | str | None
    num_compared: int
    num_differing: int | None
    served_age_days: float | None = None
    alarms: tuple[str, ...] = ()
    exported: tuple[Row, ...] = ()
    further: tuple[Row, ...] = ()


class Decision(msgspec.Struct, frozen=True):
    """What comes of it.

    Attributes:
        verdict: RELEASE, HOLD or REJECT.
        why: one sentence.
        rows: all that was looked at.
    """

    verdict: Verdict
    why: str
    rows: list[Row]
