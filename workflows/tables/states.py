"""What is known of each user after the train split, before the test split, and after every event."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from workflows.core.disk import open_array
from workflows.tables.stream import stream
from workflows.tables.watch import num_rows, watched

if TYPE_CHECKING:
    import duckdb

__all__ = ["INTERACTION", "STATES", "usual_history_length", "write_states"]

STATES = {"train": 0, "eval": 1, "serve": 2}  # the last split that each state knows
INTERACTION = "interaction AND item_row >= 0"  # what a user has seen and what a history holds: any label is positive
POSITIVE = "positive AND item_row >= 0"  # what the models predict, and count: the first label is
SHORTEST, LONGEST_ORDERED, LONGEST_UNORDERED = 20, 50, 100


def usual_history_length(con: duckdb.DuckDBPyConnection, *, ordered: bool) -> int:
    """As many items as three of four users have interactions in train, within bounds.

    What is long ago says little of what comes next; a set without order says the more the larger it is.
    """
    counts = f"SELECT count(*) AS num FROM events WHERE {INTERACTION} AND split = 0 GROUP BY user_row"
    quartile = con.execute(f"SELECT quantile_disc(num, 0.75) FROM ({counts})").fetchall()[0][0]
    return min(max(int(quartile or 0), SHORTEST), LONGEST_ORDERED if ordered else LONGEST_UNORDERED)


def write_states(
    con: duckdb.DuckDBPyConnection, folder: Path, num_users: int, num_items: int, history_length: int, *, ordered: bool
) -> None:
    """Write state/{train,eval,serve}: history.npy, seen_indptr.npy, seen_rows.npy and popularity.npy.

    Where nothing is ordered, a history is a draw from a user's items, as in the events: the last rows of a file that is
    sorted by item would stand for none of the others.
    """
    total = num_rows(con, "events")
    with watched(con, "finding what each user has seen", total):
        # The split of the first interaction, once: each of the states would look for distinct pairs twice.
        con.execute(
            f"CREATE TABLE seen AS SELECT user_row, item_row, min(split) AS split FROM events WHERE {INTERACTION} "
            "GROUP BY ALL"
        )
    for name, last in STATES.items():
        state = folder / "state" / name
        state.mkdir(parents=True)
        with watched(con, f"writing what is known of each user (state/{name})", total, one=False):
            _write_history(con, last, state / "history.npy", num_users, history_length, ordered=ordered)
            _write_seen(con, last, state, num_users)
            positives = f"SELECT item_row, count(*) AS num FROM events WHERE {POSITIVE} AND split <= {last} GROUP BY 1"
            counts = con.execute(positives).fetchnumpy()
            popularity = np.zeros(num_items, dtype=np.float32)
            popularity[counts["item_row"]] = counts["num"]
            np.save(state / "popularity.npy", popularity)
    con.execute("DROP TABLE seen")


def _write_history(
    con: duckdb.DuckDBPyConnection, last: int, path: Path, num_users: int, length: int, *, ordered: bool
) -> None:
    """The latest items of each user, oldest first, padded right: the r-th latest of m goes to column min(m, L) - r.

    Unordered: distinct items in the order of their hash, so that those of one state are mostly those of the next.
    """
    events = f"SELECT user_row, item_row, instant, n FROM events WHERE {INTERACTION} AND split <= {last}"
    latest = "instant DESC, n DESC"
    if not ordered:
        events = f"SELECT user_row, item_row FROM seen WHERE split <= {last}"
        latest = "hash(user_row, item_row), item_row"
    history = open_array(path, (num_users, length), np.int32)
    history[:] = -1
    batches = stream(
        con,
        f"SELECT user_row, item_row, least(count(*) OVER (PARTITION BY user_row), {length}) - "
        f"row_number() OVER (PARTITION BY user_row ORDER BY {latest}) AS place "
        f"FROM ({events}) QUALIFY place >= 0",
    )
    for batch in batches:
        users, items, places = (column.to_numpy() for column in batch.columns)
        history[users, places] = items
    history.flush()


def _write_seen(con: duckdb.DuckDBPyConnection, last: int, state: Path, num_users: int) -> None:
    known = f"seen WHERE split <= {last}"
    rows = open_array(state / "seen_rows.npy", (num_rows(con, known),), np.int32)
    counts = np.zeros(num_users, dtype=np.int64)
    place = 0
    for batch in stream(con, f"SELECT user_row, item_row FROM {known} ORDER BY user_row, item_row"):
        users, items = (column.to_numpy() for column in batch.columns)
        rows[place : place + len(items)] = items
        counts += np.bincount(users, minlength=num_users)
        place += len(items)
    rows.flush()
    np.save(state / "seen_indptr.npy", np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
