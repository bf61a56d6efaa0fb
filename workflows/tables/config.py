"""The [data] and [split] sections."""

from __future__ import annotations

from typing import Literal

import msgspec

from workflows.core.section import Fraction, Section
from workflows.tables.warehouse.address import without_secrets

__all__ = ["DataConfig", "IdKind", "SplitConfig"]

IdKind = Literal["auto", "int64", "string"]


class DataConfig(Section, frozen=True):
    """Where the tables are and what their columns mean.

    Attributes:
        source: "tables": files. "shop" writes the simulated shop to Parquet first and then reads it like "tables". Or
            the URL of a warehouse, "postgresql://", "snowflake://" or "bigquery://", as docs/WAREHOUSES.md describes
            them: events, items and users then name a table there (schema.table) or a query (SELECT ...). ${NAME} in
            it is an environment variable. Its password is in no file of a run.
        events: Parquet or CSV file, folder, glob or fsspec URL (a list of them is read as one table). What exists under
            the very name is no glob. Folders are read with all that is below them, through symbolic links too; hidden
            files and folders (.NAME, _NAME but not the partition _KEY=VALUE) are left out, aloud, there and for
            wildcards, unless the part of a glob starts with . or _ itself. Delta, Hudi and Iceberg tables are refused.
            CSV is UTF-8; its first line holds the names and tells the delimiter (, ; tab or |), '"' quotes and is
            doubled inside a value, an empty value is null. A column has the type that all of its rows have: integers
            that print as they are written (not "007"), else floats, else true and false, else text. What features read
            as codes (categorical, hashed) is a number only where every row prints as it is written, so that "1.1" and
            "1.10" stay two texts; what they read as numbers may be written in any way. Or the folder of live events of
            a server: its interactions are the rows, with a 0/1 column for each label; context columns, position and
            propensity are fields that the events carry, and what was sent twice or is of a forgotten user is left out.
        items: the catalogue; absent: the distinct items of the train and valid events. An item that only valid has is
            out of vocabulary for what is fitted on train, and is recommended by its neighbours and its popularity.
        users: absent: the distinct users of the events.
        user_id, item_id: id columns, the same name in every table; int64 or string. An item may not be called -1 or "",
            which fill up short lists of items in requests and slates; as a string it may be called "-1".
        user_id_type, item_id_type: what they are. "auto": as Parquet says; in CSV int64 when every id is a plain
            integer, else string, so that "007" keeps its zeros and "7 " its blank. "int64" reads both as 7; "string"
            keeps all as text.
        timestamp: integer, float (epoch seconds) or datetime column; in CSV also dates and timestamps as text: ISO 8601
            with or without a zone (then UTC), or day/month/year or month/day/year where the rows tell which. Absent:
            file order decides the split, said aloud, and histories have no order.
        labels: label columns of the events, 0/1 or boolean; or name -> condition on a column, such as
            { liked = "rating >= 8" }, which drops the events where that column is null or NaN; absent: every event is a
            positive. A condition ends in a number, in true or false, or in quotes in a text or, for a column of dates,
            in '2024-01-31' (its first instant) or '2024-01-31 12:00:00', as UTC. The first label is what the models
            predict and what popularity counts. An event with any of them is an interaction: the user has seen its
            item, which is not shown again, and it is in the histories.
        position: column with the display position: checked and kept in the prepared events, where the informed bound of
            the simulated shop reads it. Never an input of a model.
        propensity: column with the known probability that chance alone showed the item there (an exploration slot, a
            page in random order); null or 0 where a policy chose it. The report then measures every source on these
            events first, each weighing 1 / propensity: clicks on what a policy chose favour whoever resembles it. A
            flag does where chance treats all items alike: 1 for what it showed. Never an input of a model.
        context: columns of the events that a request can also carry (device, hour).
        stock: boolean column of the items; false is out of stock, never shown.
        unknown_items: what to do with events whose item is not in the items table.
    """

    source: str = "tables"
    events: str | list[str] | None = None
    items: str | list[str] | None = None
    users: str | list[str] | None = None
    user_id: str = "user_id"
    item_id: str = "item_id"
    user_id_type: IdKind = "auto"
    item_id_type: IdKind = "auto"
    timestamp: str | None = None
    labels: list[str] | dict[str, str] = []
    position: str | None = None
    propensity: str | None = None
    context: list[str] = []
    stock: str | None = None
    unknown_items: Literal["error", "drop"] = "error"

    def __post_init__(self) -> None:
        """Keep the secrets of the source out of whatever is saved or shown.

        Raises:
            ConfigError: it is the URL of a warehouse that cannot be read.
        """
        msgspec.structs.force_setattr(self, "source", without_secrets(self.source))


class SplitConfig(Section, frozen=True):
    """How events become train, valid and test.

    Attributes:
        by: "time": one global cut, the last fractions of the log; "leave_last_out": each user's last event is
            test and the one before it valid, and a user with fewer than three events has all of them in train, so
            that nobody is tested without a past; "column": a column of the events with the values train, valid and
            test; "files": three tables given below instead of data.events.
        valid_fraction, test_fraction: shares of the events, for "time". Where a given split ("column", "files") has no
            valid events, this share of each user's train events is held out as them: the latest, or without a
            timestamp drawn ones; 0 leaves it empty.
        column: name of the split column, for "column".
        train, valid, test: paths, for "files".
    """

    by: Literal["time", "leave_last_out", "column", "files"] = "time"
    valid_fraction: Fraction = 0.1
    test_fraction: Fraction = 0.1
    column: str = "split"
    train: str | None = None
    valid: str | None = None
    test: str | None = None
