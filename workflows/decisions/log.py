"""A decision log in memory, and reading one from Parquet."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from workflows.core.errors import DataError
from workflows.decisions.columns import NAMES
from workflows.decisions.raw import problems, read_columns

__all__ = ["MOST_REFUSED", "DecisionLog", "Refused", "log_of", "read_log", "read_table"]

# Of the rows; where more are refused, what is left is another log than the one that was written.
MOST_REFUSED = 0.01
SHOWN = 3

Floats = NDArray[np.float64]


class Refused(msgspec.Struct, frozen=True):
    """A row that cannot be used.

    Attributes:
        request_id: of it.
        why: what is wrong with it.
    """

    request_id: str
    why: str


class DecisionLog(msgspec.Struct, frozen=True):
    """N slates of up to S items, chosen from up to C candidates.

    Attributes:
        request_ids: text [N].
        users: int64 [N], places in `user_ids`.
        user_ids: raw ids, ascending.
        items: int64 [N, S], places in `item_ids`; -1: no such slot.
        item_ids: raw ids, ascending.
        log_propensity: float64 [N, S]; 0 where there is no such slot.
        rewards: float64 [N, S]; 0 where there is no such slot.
        candidates: int64 [N, C], places in `item_ids`; -1: none. C is 0 where no row says what it was chosen from.
        candidate_scores: float64 [N, C], utilities; -inf where there is none.
        temperature: float64 [N]; NaN where it is not said.
        context: the rows' other columns.
        refused: rows that were left out, as they cannot be.
        num_fixed: further rows, whose slate was not drawn by chance.
    """

    request_ids: NDArray
    users: NDArray[np.int64]
    user_ids: NDArray
    items: NDArray[np.int64]
    item_ids: NDArray
    log_propensity: Floats
    rewards: Floats
    candidates: NDArray[np.int64]
    candidate_scores: Floats
    temperature: Floats
    context: pa.Table
    refused: list[Refused]
    num_fixed: int = 0

    def __len__(self) -> int:
        return len(self.users)

    @property
    def has_candidates(self) -> NDArray[np.bool_]:
        """Rows that say what they were chosen from, bool [N]."""
        return np.asarray((self.candidates >= 0).any(axis=1), bool)


def read_log(path: Path) -> DecisionLog:
    """Read a log and check each of its rows.

    Args:
        path: a Parquet file, or a folder of them.

    Raises:
        DataError: it cannot be read, a column is missing or of another type, too many rows are refused, or there is
            none.
    """
    try:
        return log_of(read_table(path))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def read_table(path: Path) -> pa.Table:
    """All rows of a Parquet file, or of the files of a folder.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    files = sorted(path.rglob("[!._]*.parquet")) if path.is_dir() else [path]
    if not files:
        raise DataError("it holds no Parquet file; a decision log is Parquet, one row a slate")
    try:
        return pa.concat_tables([pq.ParquetFile(file).read() for file in files], promote_options="permissive")
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"cannot be read as Parquet ({error})") from error


def log_of(table: pa.Table) -> DecisionLog:
    """A log from a table; see `read_log`."""
    num_rows = table.num_rows
    table = _explored(table)
    raw = read_columns(table)
    why = problems(raw)
    kept = np.flatnonzero(why == "")
    refused = [Refused(str(raw.request_ids[row]), why[row]) for row in np.flatnonzero(why != "")]
    if not len(kept) or len(refused) > MOST_REFUSED * len(why):
        told = "; ".join(f"{row.request_id}: {row.why}" for row in refused[:SHOWN])
        of = f"{len(refused):,} of {len(why):,} rows cannot be used, and what is left is another log"
        raise DataError(f"{of} ({told})" if refused else "it has no row; a decision log has one a slate")
    slots = int(raw.items.lengths[kept].max())
    width = int(raw.candidates.lengths[kept].max())
    return DecisionLog(
        request_ids=raw.request_ids[kept],
        users=raw.users[kept],
        user_ids=raw.user_ids,
        items=raw.items.padded(-1, slots)[kept],
        item_ids=raw.item_ids,
        log_propensity=np.minimum(raw.chances.padded(0.0, slots)[kept], 0.0),
        rewards=raw.rewards.padded(0.0, slots)[kept],
        candidates=raw.candidates.padded(-1, width)[kept],
        candidate_scores=raw.scores.padded(-np.inf, width)[kept],
        temperature=raw.temperature[kept],
        context=table.select([name for name in table.column_names if name not in NAMES]).take(pa.array(kept)),
        refused=refused,
        num_fixed=num_rows - table.num_rows,
    )


def _explored(table: pa.Table) -> pa.Table:
    """The rows whose slate was drawn; all, where the log does not say."""
    if "explored" not in table.column_names or not table.num_rows:
        return table
    if not pa.types.is_boolean(table["explored"].type):
        raise DataError(f"column explored is {table['explored'].type}; expected true or false")
    drawn = table.filter(pc.fill_null(table["explored"], False))
    if not drawn.num_rows:
        raise DataError(
            f"none of its {table.num_rows:,} slates was drawn by chance (explored is false); the others say nothing of "
            "what another policy would have earned; serve with exploration on for a share of the requests"
        )
    return drawn
