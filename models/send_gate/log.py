"""The log that the send gate learns from: decisions with their probability, and the days of every user."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from models.send_gate.columns import days_of, flags, is_number, numbers, read_table, users_of
from workflows.core.errors import DataError

__all__ = ["ACTIVITY_FILE", "DECISIONS_FILE", "OUTCOMES_FILE", "PushLog", "read_push_log"]

DECISIONS_FILE, ACTIVITY_FILE = "decisions.parquet", "activity.parquet"
# Of `cascade notify`: a folder of batches, and what followed, of each decision_id.
BATCHES, OUTCOMES_FILE = "decisions", "outcomes.parquet"
FOLLOWED = ("opened", "visited", "opted_out")
DECIDED = ("user_id", "day", "propensity", "action")
NEEDED = (*DECIDED, *FOLLOWED)
NEEDED_OF_DAYS = ("user_id", "day", "active", "reachable")
# Numbers of a decision that are no feature of it.
OUTCOMES = (*NEEDED, "decision_id", "at", "active", "policy", "cap", "advantage", "send_price")


class PushLog(msgspec.Struct, frozen=True):
    """R decisions and the days of U users.

    Attributes:
        features: column -> numbers [R], as of before the decision.
        user: int64 [R], rows of `active`; day: int64 [R], columns of it.
        sent, opened, visited, opted_out: bool [R], of the day of the decision; visited: unasked.
        propensity: float64 [R], with which it was to be sent, inside (0, 1).
        active, reachable, known: bool [U, D]; reachable as the day begins; known from a user's first day in the log on.
    """

    features: dict[str, NDArray]
    user: NDArray[np.int64]
    day: NDArray[np.int64]
    sent: NDArray[np.bool_]
    opened: NDArray[np.bool_]
    visited: NDArray[np.bool_]
    opted_out: NDArray[np.bool_]
    propensity: NDArray[np.float64]
    active: NDArray[np.bool_]
    reachable: NDArray[np.bool_]
    known: NDArray[np.bool_]

    def of_users(self, chosen: NDArray[np.bool_]) -> PushLog:
        """The same of some users, bool [U]."""
        rows = chosen[self.user]
        taken = {name: getattr(self, name)[rows] for name in ("day", "sent", "opened", "visited", "opted_out")}
        return PushLog(
            features={name: values[rows] for name, values in self.features.items()},
            user=(np.cumsum(chosen) - 1)[self.user[rows]],
            propensity=self.propensity[rows],
            active=self.active[chosen],
            reachable=self.reachable[chosen],
            known=self.known[chosen],
            **taken,
        )


def read_push_log(folder: Path, features: Sequence[str] = ()) -> PushLog:
    """Read decisions and days of a folder.

    Decisions of probability 0 or 1, which a rule forced, are left out: they teach nothing of their alternative.

    Args:
        folder: with decisions.parquet and activity.parquet; or one that cascade notify keeps, to which outcomes.parquet
            and activity.parquet were added.
        features: columns; empty: all that hold numbers and are no outcome.

    Raises:
        DataError: a file or column is missing, a value is not what it should be, or nothing was left to chance.
    """
    decisions, path = _decisions(folder)
    days = read_table(folder / ACTIVITY_FILE, NEEDED_OF_DAYS)
    propensity = numbers(decisions, "propensity")
    if (bad := ~((propensity >= 0) & (propensity <= 1))).any():
        raise DataError(
            f"{path}: propensity is {propensity[bad][0]:g} in {bad.sum():,} rows; expected the "
            "probability of sending, from 0 to 1 and not its logarithm"
        )
    by_chance = (propensity > 0) & (propensity < 1)
    if not by_chance.any():
        raise DataError(
            f"{path}: no decision was left to chance; let a coin decide a share of them, and log "
            "the probability of sending as `propensity`"
        )
    decisions, propensity = decisions.filter(pa.array(by_chance)), propensity[by_chance]
    chosen = features or [
        name for name in decisions.column_names if name not in OUTCOMES and is_number(decisions.schema.field(name).type)
    ]
    missing = [name for name in chosen if name not in decisions.column_names]
    if missing:
        raise DataError(f"{path} lacks the column {missing[0]!r} of send_gate.features")
    users, first, of_days = _of_days(days, folder / ACTIVITY_FILE)
    user = _known(users, users_of(decisions, path), folder)
    day = _since(first, days_of(decisions, path), folder)
    before = ~of_days["known"][user, np.minimum(day, of_days["known"].shape[1] - 1)]
    if before.any():
        raise DataError(
            f"{folder / ACTIVITY_FILE} begins later for user {users[user[before][0]]!r} than a decision on day "
            f"{first + day[before][0]}; expected the days of all of them"
        )
    return PushLog(
        features={name: numbers(decisions, name) for name in chosen},
        user=user,
        day=day,
        sent=flags(decisions, "action"),
        propensity=propensity,
        **of_days,
        **{name: flags(decisions, name) for name in FOLLOWED},
    )


def _of_days(table: pa.Table, path: Path) -> tuple[NDArray, int, dict[str, NDArray[np.bool_]]]:
    """The users [U], the first day, and bool [U, D] of what the days hold.

    Raises:
        DataError: a day is there twice, or missing between a user's first one and the last.
    """
    users, row = np.unique(users_of(table, path), return_inverse=True)
    day = days_of(table, path)
    first = int(day.min())
    day = day - first
    size = (len(users), int(day.max()) + 1)
    times = np.zeros(size, np.int64)
    np.add.at(times, (row, day), 1)
    if (times > 1).any():
        user, twice = np.argwhere(times > 1)[0]
        raise DataError(
            f"{path}: day {first + twice} of user {users[user]!r} is there {times[user, twice]} times; expected once"
        )
    known = np.maximum.accumulate(times, axis=1) > 0
    if (holes := known & (times == 0)).any():
        user, hole = np.argwhere(holes)[0]
        raise DataError(
            f"{path} lacks day {first + hole} of user {users[user]!r}, and {holes.sum():,} in all; expected each day "
            "from a user's first one to the last of the log: one who is gone is neither active nor reachable"
        )
    found = {name: np.zeros(size, bool) for name in ("active", "reachable")}
    for name, values in found.items():
        values[row, day] = flags(table, name)
    return users, first, {**found, "known": known}


def _decisions(folder: Path) -> tuple[pa.Table, Path]:
    """The decisions whose outcomes are known, and where they are."""
    batches = sorted((folder / BATCHES).glob("*.parquet"))
    if not batches:
        return read_table(folder / DECISIONS_FILE, NEEDED), folder / DECISIONS_FILE
    if (folder / DECISIONS_FILE).is_file():
        raise DataError(f"{folder} has {DECISIONS_FILE} and a folder {BATCHES} of cascade notify; leave one of them")
    decided = pa.concat_tables(
        [read_table(path, ("decision_id", *DECIDED)).replace_schema_metadata(None) for path in batches],
        promote_options="default",
    )
    followed = read_table(folder / OUTCOMES_FILE, ("decision_id", *FOLLOWED))
    place = pc.index_in(decided["decision_id"], followed["decision_id"].cast(pa.string()).combine_chunks())
    known = pc.is_valid(place)
    if not pc.any(known).as_py():
        raise DataError(
            f"{folder / OUTCOMES_FILE} has the outcome of no decision in {folder / BATCHES}; expected their decision_id"
        )
    decided, followed = decided.filter(known), followed.take(place.drop_null())
    for name in FOLLOWED:
        decided = decided.append_column(name, followed[name])
    return decided, folder / BATCHES


def _known(users: NDArray, ids: NDArray, folder: Path) -> NDArray[np.int64]:
    """The rows of users who have days."""
    if (users.dtype.kind == "U") != (ids.dtype.kind == "U"):
        raise DataError(f"user_id is text in one table of {folder} and numbers in the other; expected one kind in both")
    place = np.minimum(np.searchsorted(users, ids), len(users) - 1)
    if (unknown := users[place] != ids).any():
        raise DataError(f"{folder / ACTIVITY_FILE} has no day of user {ids[unknown][0]!r}, who was decided on")
    return np.asarray(place)


def _since(first: int, days: NDArray[np.int64], folder: Path) -> NDArray[np.int64]:
    if (early := days < first).any():
        raise DataError(
            f"{folder / ACTIVITY_FILE} begins after {early.sum():,} of the decisions; expected the days of all of them"
        )
    return days - first
