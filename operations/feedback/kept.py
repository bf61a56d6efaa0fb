"""MON/feedback as tables: events of days, with what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from operations.feedback.events import SHOWN, Event
from operations.feedback.match import Match, Said
from operations.feedback.schema import FEEDBACK, FEEDBACK_COLUMNS, date_of, file_in
from operations.folder import Change
from operations.log.write import write_table
from workflows.core.errors import ArtefactError

__all__ = [
    "MATCHED",
    "Days",
    "counts_of",
    "known_keys",
    "of_slates",
    "place_file",
    "read_whole",
    "said",
    "table_of",
    "with_matches",
]

SCHEMA = pa.schema(FEEDBACK_COLUMNS)
MATCHED = ("how", "why_not", "slate_key", "slate_at", "chain_key", "rank", "item_row")


class Days:
    """The days of events that are kept.

    Args:
        folder: MON.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        places = (folder / FEEDBACK).glob("date=*")
        self.files: Mapping[int, Path] = {date_of(place): path for place in sorted(places) if (path := file_in(place))}

    def read(self, day: int) -> pa.Table:
        """The events of a day; none where there are none."""
        return read_whole(self.files[day]) if day in self.files else SCHEMA.empty_table()

    def place(self, change: Change, day: int, table: pa.Table) -> None:
        """Have the events of a day written."""
        place_file(change, self.folder / FEEDBACK / f"date={np.datetime64(day, 'D')}", table)


def read_whole(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A file of MON/feedback or MON/joined.

    Raises:
        ArtefactError: it cannot be read.
    """
    try:
        return pq.ParquetFile(path, page_checksum_verification=True).read(columns and list(columns))
    except (OSError, pa.ArrowException) as error:
        raise ArtefactError(f"{path} cannot be read ({error}); put a copy of it back, or remove it") from None


def place_file(change: Change, folder: Path, table: pa.Table) -> None:
    """Have the one file of a day's folder written anew; its name counts how often it was."""
    before = file_in(folder)
    revision = int(before.stem) + 1 if before else 1
    write_table(table, change.place(folder / f"{revision:06d}.parquet"))
    if before:
        change.remove(before)


def known_keys(days: Days, keys: Sequence[bytes]) -> set[bytes]:
    """Those of some keys of events that are kept already."""
    wanted, known = pa.array(keys, pa.binary(16)), set[bytes]()
    for path in days.files.values():
        kept = read_whole(path, ["event_key"])["event_key"]
        known.update(wanted.filter(pc.is_in(wanted, value_set=kept.combine_chunks())).to_pylist())
    return known


def table_of(events: Sequence[Event], user_keys: Iterable[Sequence[bytes]]) -> pa.Table:
    """New events as rows that no slate was looked for yet."""
    columns: dict[str, list[Any]] = {
        "event_key": [event.key for event in events],
        "request_id": [event.request_id or None for event in events],
        "position": [event.position if event.position >= 0 else None for event in events],
        "user_keys": list(user_keys),
        "item_id": [event.item for event in events],
        "at": [event.at for event in events],
        "label": [event.label for event in events],
        "value": [event.value for event in events],
    }
    arrays = [
        pa.array(columns[name], pa.int64()).cast(kind)
        if name == "at"
        else pa.array(columns[name], kind)
        if name in columns
        else pa.nulls(len(events), kind)
        for name, kind in FEEDBACK_COLUMNS.items()
    ]
    return pa.table(arrays, SCHEMA)


def said(table: pa.Table) -> list[Said]:
    """What the rows say, for `match`."""
    names = ("request_id", "position", "user_keys", "item_id")
    columns = [table[name].to_pylist() for name in names]
    at = table["at"].cast(pa.int64()).to_pylist()
    return [
        Said(request_id or "", -1 if position is None else position, keys, item, when)
        for request_id, position, keys, item, when in zip(*columns, at, strict=True)
    ]


def with_matches(table: pa.Table, found: Sequence[Match], rows: Mapping[str, Mapping[str, int]]) -> pa.Table:
    """The rows with what became of them. An event without a user is that of the slate's user from then on."""
    slates = [each.slate for each in found]
    items = table["item_id"].to_pylist()
    columns: dict[str, list[Any]] = {
        "how": [each.how or None for each in found],
        "why_not": [each.why_not or None for each in found],
        "slate_key": [slate and slate.key for slate in slates],
        "slate_at": [slate and slate.at for slate in slates],
        "chain_key": [slate and slate.chain_key for slate in slates],
        "rank": [each.rank or None for each in found],
        "item_row": [slate and rows[slate.chain_key][item] for slate, item in zip(slates, items, strict=True)],
        "user_keys": [
            keys or ([slate.user_key] if slate else [])
            for keys, slate in zip(table["user_keys"].to_pylist(), slates, strict=True)
        ],
    }
    for name, values in columns.items():
        kind = FEEDBACK_COLUMNS[name]
        column = pa.array(values, pa.int64()).cast(kind) if name == "slate_at" else pa.array(values, kind)
        table = table.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), column)
    return table


def of_slates(days: Days, held: Mapping[int, pa.Table], keys: pa.Array, first_day: int) -> pa.Table:
    """The events that are of some slates.

    Args:
        days: that are kept.
        held: days of which there is a newer table than is kept.
        keys: of slates.
        first_day: that may hold one; no event is before its slate.
    """
    found = [SCHEMA.empty_table()]
    for day in sorted({*days.files, *held}):
        if day >= first_day:
            table = held[day] if day in held else read_whole(days.files[day])
            found.append(table.filter(pc.is_in(table["slate_key"], value_set=keys)))
    return pa.concat_tables(found)


def counts_of(table: pa.Table) -> dict[str, int]:
    """How the events of a day are joined; reported impressions are counted apart."""
    is_label = pc.not_equal(table["label"], SHOWN)
    labels, others = table.filter(is_label), table.filter(pc.invert(is_label))
    counts = Counter(labels["how"].drop_null().to_pylist()) + Counter(labels["why_not"].drop_null().to_pylist())
    matched = others.num_rows - others["how"].null_count
    shown = {"impressions": matched, "impressions_unmatched": others.num_rows - matched}
    return {name: number for name, number in {**counts, **shown}.items() if number}
