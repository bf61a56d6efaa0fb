"""What the manifest of data/ says, for tests that write the tables themselves."""

from __future__ import annotations

from typing import Any

import msgspec

from workflows.tables.info import DataInfo

__all__ = ["data_info"]

PLAIN = DataInfo(
    num_items=0,
    num_users=0,
    id_type={"item": "int64", "user": "int64"},
    rows={"train": 0, "valid": 0, "test": 0},
    history_length=0,
    has_timestamp=True,
    timestamp_unit="s",
    labels=(),
    num_dropped=0,
)


def data_info(num_users: int, num_items: int, **changes: Any) -> DataInfo:
    """Of so many users and items with integer ids; any other key as given."""
    return msgspec.structs.replace(PLAIN, num_users=num_users, num_items=num_items, **changes)
