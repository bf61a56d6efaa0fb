"""What the manifest of data/ reports of the tables."""

from __future__ import annotations

from typing import ClassVar, Literal

from workflows.core.record import Info
from workflows.stream.features import LiveColumn

__all__ = ["DataInfo", "IdType"]

IdType = Literal["int64", "string"]


class DataInfo(Info, frozen=True, kw_only=True):
    """The tables after they were read, checked and split.

    Attributes:
        num_items: N.
        num_users: U.
        id_type: "item" and "user" -> the type of the raw ids.
        rows: events of each split.
        history_length: L, the items kept of a user's history.
        has_timestamp: whether events have a time; without one, file order decides the splits alone.
        timestamp_unit: what the timestamps count in, such as "s" or "datetime"; "rows" without them.
        labels: the label columns, the first of which tells a positive event.
        of_kinds: whether the first label says of what kind an event is, so that an event without it is no item that was
            shown in vain; false in runs of earlier releases.
        num_dropped: events that were left out.
        valid_given: whether a given split ("column", "files") has valid events; not in runs of earlier releases.
        log_id: of the log that the events came from; empty where they came from files.
        log_offset: its events below this offset are in the tables; -1 where they came from files.
        table_versions: FOLDER@VERSION of each Delta or Iceberg table that was read.
        stream: the columns of stream features, those of users in the splits; rates with what the train events say.
    """

    stage: ClassVar[str] = "data"

    num_items: int
    num_users: int
    id_type: dict[Literal["item", "user"], IdType]
    rows: dict[str, int]
    history_length: int
    has_timestamp: bool
    timestamp_unit: str
    labels: tuple[str, ...]
    num_dropped: int
    of_kinds: bool = False
    valid_given: bool = False
    log_id: str = ""
    log_offset: int = -1
    table_versions: tuple[str, ...] = ()
    stream: tuple[LiveColumn, ...] = ()
