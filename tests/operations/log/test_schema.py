"""The columns that whoever reads collected requests counts on."""

from __future__ import annotations

import pyarrow as pa

from operations.log.schema import EXPLORED, LIVE, schema_of


def test_context_columns_stand_between_what_was_asked_and_what_was_answered():
    schema = schema_of([("device", "BYTES"), ("hour", "INT64"), ("temperature", "FP32")])
    place = schema.names.index("slate_size")
    assert schema.names[place + 1 : place + 5] == ["context_device", "context_hour", "context_temperature", "item_rows"]
    assert [schema.field(f"context_{name}").type for name in ("device", "hour", "temperature")] == [
        pa.string(),
        pa.int64(),
        pa.float32(),
    ]


def test_a_context_column_may_be_called_like_one_of_ours():
    assert schema_of([("path", "BYTES"), ("at", "INT64")]).names.count("path") == 1


def test_only_a_chain_with_live_events_has_their_columns():
    assert not set(LIVE) & set(schema_of([]).names)
    assert set(LIVE) <= set(schema_of([], is_live=True).names)


def test_only_a_chain_that_explores_has_its_columns():
    assert not set(EXPLORED) & set(schema_of([]).names)
    assert schema_of([], explores=True).names == [*schema_of([]).names, *EXPLORED]
