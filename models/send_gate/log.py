"""The log that the send gate learns from: decisions with their probability, and the days of every user."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

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
        active, reachable: bool [U, D]; reachable as the day begins.
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
    days = _read(folder / ACTIVITY_FILE, NEEDED_OF_DAYS)
    propensity = _numbers(decisions, "propensity")
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
        name
        for name in decisions.column_names
        if name not in OUTCOMES and _is_number(decisions.schema.field(name).type)
    ]
    missing = [name for name in chosen if name not in decisions.column_names]
    if missing:
        raise DataError(f"{path} lacks the column {missing[0]!r} of send_gate.features")
    users, row_of_day = np.unique(_ids(days), return_inverse=True)
    of_day = _days(days)
    first = int(of_day.min())
    active = np.zeros((len(users), int(of_day.max()) - first + 1), bool)
    reachable = np.zeros_like(active)
    active[row_of_day, of_day - first] = _numbers(days, "active") > 0.5
    reachable[row_of_day, of_day - first] = _numbers(days, "reachable") > 0.5
    return PushLog(
        features={name: _numbers(decisions, name) for name in chosen},
        user=_known(users, _ids(decisions), folder),
        day=_since(first, _days(decisions), folder),
        sent=_numbers(decisions, "action") > 0.5,
        propensity=propensity,
        active=active,
        reachable=reachable,
        **{name: _numbers(decisions, name) > 0.5 for name in FOLLOWED},
    )


def _decisions(folder: Path) -> tuple[pa.Table, Path]:
    """The decisions whose outcomes are known, and where they are."""
    batches = sorted((folder / BATCHES).glob("*.parquet"))
    if not batches:
        return _read(folder / DECISIONS_FILE, NEEDED), folder / DECISIONS_FILE
    if (folder / DECISIONS_FILE).is_file():
        raise DataError(f"{folder} has {DECISIONS_FILE} and a folder {BATCHES} of cascade notify; leave one of them")
    decided = pa.concat_tables(
        [_read(path, ("decision_id", *DECIDED)).replace_schema_metadata(None) for path in batches],
        promote_options="default",
    )
    followed = _read(folder / OUTCOMES_FILE, ("decision_id", *FOLLOWED))
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


def _read(path: Path, needed: tuple[str, ...]) -> pa.Table:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} cannot be read ({error}); docs/SEND_GATE.md says what it holds") from None
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise DataError(f"{path} lacks the columns {', '.join(missing)}; docs/SEND_GATE.md says what they hold")
    if not len(table):
        raise DataError(f"{path} is empty")
    return table


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _numbers(table: pa.Table, name: str) -> NDArray[np.float64]:
    if not _is_number(table.schema.field(name).type):
        raise DataError(f"column {name!r} of the log holds {table.schema.field(name).type}, expected numbers")
    return np.asarray(table[name].cast(pa.float64()).to_numpy())


def _days(table: pa.Table) -> NDArray[np.int64]:
    """Dates as days since 1970, numbers as they are."""
    column = table["day"]
    if pa.types.is_date32(column.type) and not column.null_count:
        return np.asarray(column.cast(pa.int32()).to_numpy()).astype(np.int64)
    return _numbers(table, "day").astype(np.int64)


def _ids(table: pa.Table) -> NDArray:
    ids = table["user_id"].to_numpy(zero_copy_only=False)
    return ids.astype("U") if ids.dtype == object else np.asarray(ids)
