"""The columns of MON/feedback and MON/joined, and where their files are.

MON/feedback/date=D/R.parquet: a row an event of the day D, with the slate that it belongs to.
MON/joined/chain=K/date=D/R.parquet: the slates that a version gave on the day D: a row an impression (`shown`), and
a row for each label that an impression got. R counts how often the file was written anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa

from operations.folder import REQUESTS
from operations.log.schema import NAME

__all__ = [
    "DAY_NS",
    "FEEDBACK",
    "FEEDBACK_COLUMNS",
    "JOINED",
    "JOINED_COLUMNS",
    "date_of",
    "day_of",
    "file_in",
    "request_days",
]

FEEDBACK, JOINED = "feedback", "joined"
DAY_NS = 86_400 * 10**9
KEY = pa.binary(16)
AT = pa.timestamp("ns", "UTC")

FEEDBACK_COLUMNS: Mapping[str, pa.DataType] = {
    "event_key": KEY,  # hash of event_id, else of all that the event says
    "request_id": pa.string(),  # null where the client sent none
    "position": pa.int16(),
    "user_keys": pa.list_(KEY),  # keyed hashes of the raw user id, one for each salt of then
    "item_id": pa.string(),
    "at": AT,
    "label": pa.string(),
    "value": pa.float32(),
    "how": pa.string(),  # id or attributed; null: unmatched
    "why_not": pa.string(),  # of an unmatched one
    "slate_key": KEY,
    "slate_at": AT,
    "chain_key": pa.string(),
    "rank": pa.int16(),  # 1 is the best
    "item_row": pa.int32(),
}
JOINED_COLUMNS: Mapping[str, pa.DataType] = {
    "slate_key": KEY,
    "rank": pa.int16(),
    "item_row": pa.int32(),
    "shown": pa.bool_(),  # true: the row is an impression; false: a label that it got
    "label": NAME,
    "value": pa.float32(),
    "delay_s": pa.float64(),  # from the slate to the first such event
    "how": NAME,  # id or attributed
    "num_events": pa.int32(),  # of this label; one click counts as many
    "at": AT,  # of the slate
    "consumer": NAME,
    "path": NAME,
    "score": pa.float32(),
    "weight": pa.float32(),  # requests that the slate stands for; 0: not of the sample
    "user_key": KEY,
}


def day_of(at: int) -> int:
    """Days since 1970 of nanoseconds since 1970."""
    return at // DAY_NS


def date_of(path: Path) -> int:
    """Days since 1970 of a folder date=YYYY-MM-DD."""
    text = path.name.removeprefix("date=")
    return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()) // 86_400


def file_in(folder: Path) -> Path | None:
    """The one file of a day's folder; None where there is none."""
    return next(iter(sorted(folder.glob("[!.]*.parquet"))), None)


def request_days(folder: Path) -> list[Path]:
    """The folders chain=K/date=D of MON/requests."""
    return sorted((folder / REQUESTS).glob("chain=*/date=*"))
