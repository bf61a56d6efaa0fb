"""What the request log and the feedback say of an experiment whose slates are of both variants: votes by user.

A slate votes for the variant that chose more of the places that were clicked on, once, however many clicks it had; one
whose clicks are balanced, or on places that nobody is credited for, votes for neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from operations.experiments.arms import Arm
from operations.experiments.observed import (
    ANSWER_COLUMNS,
    JOINED_COLUMNS,
    REQUEST_COLUMNS,
    Observed,
    days_since,
    label_of,
    nanoseconds,
    p95,
)
from operations.experiments.record import Running
from operations.experiments.tables import coded, columns_of, numbers, read_requests, together, weights
from operations.feedback.schema import DAY_NS, JOINED, date_of
from runtime.drafts.spec import BOTH, TEAM, VARIANT
from runtime.interleave import FIRST, SECOND

__all__ = ["voted"]

RANK = "rank"


@dataclass(frozen=True)
class _Drafts:
    """Rows of requests of the experiment, one entry a row.

    Attributes:
        user: a number for each user.
        own: whether the drafting model answered.
        refused: whether the request was good for neither version.
        variant: of each, whose slate it is.
        teams: int64 [rows, S], padded with -1.
        took_us, at: see `operations.log.schema`.
        keys: of the slates.
    """

    user: NDArray[np.int64]
    own: NDArray[np.bool_]
    refused: NDArray[np.bool_]
    variant: NDArray[np.object_]
    teams: NDArray[np.int64]
    took_us: NDArray[np.float64]
    at: NDArray[np.int64]
    keys: pa.Array

    @property
    def drafted(self) -> NDArray[np.bool_]:
        """Whether both versions answered."""
        return np.asarray(self.own & (self.variant == BOTH), bool)


def voted(folder: Path, running: Running) -> Observed:
    """Read what there is of an interleaved experiment since its start.

    Args:
        folder: MON.
        running: the experiment; its variants are the two, and "both".

    Returns:
        Of "both" its users and slates, and as `elsewhere` the share of slates that one version gave alone; of the two
        their votes less those of the other, as the metric, and the requests that each could not answer.

    Raises:
        ArtefactError: there is no request log, or a file of it cannot be read.
    """
    found = _drafts(days_since(folder, running), running)
    drafted, first, second = found.drafted, *(side.name for side in running.variants[:2])
    votes = _votes(folder, found, label_of(running.metric))
    told = drafted & (votes != 0)
    net = [_by_user(found.user, told, sign * votes, np.ones(len(votes))) for sign in (-1, 1)]
    asked = ~found.refused
    # Where nobody drafted, the request was asked of the served version: the experiment's model could not answer.
    failed = [found.own & (found.variant == second), (found.own & (found.variant == first)) | ~found.own]
    errors = [_by_user(found.user, asked, each.astype(float), np.ones(len(votes))) for each in failed]
    count, elsewhere = len(votes), float((~drafted)[asked].mean()) if asked.any() else 0.0
    slow = p95(found.took_us[drafted]) / 1e3
    return Observed(
        users=[0, 0, len(np.unique(found.user))],
        slates=[0, 0, count],
        arms={running.metric: net, "errors": errors},
        elsewhere=[0.0, 0.0, elsewhere],
        p95_ms=[float("nan"), float("nan"), slow],
        since_stage=[0, 0, int((drafted & (found.at >= nanoseconds(running.stage_since))).sum())],
        latest=int(found.at.max()) if count else 0,
    )


def _drafts(days: Sequence[Path], running: Running) -> _Drafts:
    columns = [*REQUEST_COLUMNS, *ANSWER_COLUMNS, VARIANT, TEAM]
    paths = [path for day in days for path in sorted(day.glob("[!.]*.parquet"))]
    tables = [table for path in paths if (table := read_requests(path, columns))]
    table = together(tables, columns)
    label = f"{running.name}={BOTH}"
    is_of_it = np.array([label in str(each).split(";") for each in table["experiment"].to_pylist()], bool)
    kept = is_of_it & (numbers(table["at"].cast(pa.int64())) >= nanoseconds(running.started_at))
    kept &= (numbers(table["attempt"]) == 1) & (weights(table["weight"]) > 0)
    rows = table.filter(pa.array(kept))
    has = rows.column_names
    user, keys = coded(rows["user_key"])
    variants = rows[VARIANT].to_pylist() if VARIANT in has else [None] * len(user)
    return _Drafts(
        np.where(user < 0, len(keys) + np.arange(len(user)), user),
        numbers(rows["model_version"]) == running.variant(BOTH).version,
        np.array(pc.is_valid(rows["error"]).to_pylist(), bool),
        np.array(variants, object),
        _padded(rows[TEAM].to_pylist() if TEAM in has else [None] * len(user)),
        numbers(rows["service_us"]).astype(np.float64),
        numbers(rows["at"].cast(pa.int64())),
        rows["slate_key"].combine_chunks(),
    )


def _votes(folder: Path, found: _Drafts, label: str) -> NDArray[np.float64]:
    """Of each slate 1 for the second variant, -1 for the first, 0 for neither."""
    count = len(found.user)
    if not count:
        return np.zeros(0)
    first = int(found.at.min()) // DAY_NS
    paths = sorted((folder / JOINED).glob("chain=*/date=*/[!.]*.parquet"))
    columns = [*JOINED_COLUMNS, RANK]
    joined = together([columns_of(path, columns) for path in paths if date_of(path.parent) >= first], columns)
    places = pc.index_in(joined["slate_key"].cast(pa.binary(16)), value_set=found.keys.cast(pa.binary(16)))
    at, place = numbers(places, -1), numbers(joined[RANK]) - 1
    is_vote = numbers(pc.equal(joined["label"].cast(pa.string()), label).cast(pa.int8())) > 0
    is_vote &= (at >= 0) & (place >= 0) & (place < found.teams.shape[1])
    teams = found.teams[at[is_vote], place[is_vote]]
    counts = [np.bincount(at[is_vote][teams == team], minlength=count) for team in (FIRST, SECOND)]
    votes: NDArray[np.float64] = np.sign(counts[1] - counts[0]).astype(np.float64)
    return votes


def _by_user(
    users: NDArray[np.int64], rows: NDArray[np.bool_], values: NDArray[np.float64], per: NDArray[np.float64]
) -> Arm:
    """Sums of values of some rows, by user."""
    place = np.unique(users[rows], return_inverse=True)[1]
    return Arm.of(np.bincount(place, values[rows]), np.bincount(place, per[rows]))


def _padded(teams: Sequence[Sequence[int] | None]) -> NDArray[np.int64]:
    width = max((len(each) for each in teams if each), default=0)
    padded = np.full((len(teams), width), -1, np.int64)
    for row, each in zip(padded, teams, strict=True):
        row[: len(each or ())] = each or ()
    return padded
