"""Records as they are stored: what is not in use takes no room, and comes back as nothing."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.stream.keys import user_keys
from runtime.stream.record import (
    RecordError,
    item_record,
    pack_items,
    pack_users,
    read_seen,
    read_users,
    unpack,
    user_record,
)
from runtime.stream.spec import StreamSpec
from runtime.stream.windows import Window

H, D = 4, 3
WINDOWS = (Window("click", 60), Window("any", 600))


@pytest.fixture(params=[((), ()), (WINDOWS, ("any",)), (WINDOWS[:1], ())], ids=["plain", "windows", "one window"])
def spec(request: pytest.FixtureRequest) -> StreamSpec:
    """Of a stream with and without features."""
    windows, since = request.param
    return StreamSpec(
        "INT64", "INT64", ("click",), history_length=H, dedupe_last=D, user_windows=windows, item_windows=windows,
        since=since,
    )  # fmt: skip


def filled(spec: StreamSpec) -> np.ndarray:
    """A record for each number of ids and each length of a history; all bytes in use are drawn, all others are 0."""
    used = [(ids, history) for ids in range(D + 1) for history in range(H + 1)]
    random, dtype = np.random.default_rng(5), user_record(spec)
    records = np.frombuffer(bytearray(random.bytes(len(used) * dtype.itemsize)), dtype)
    records["num_ids"], records["num_history"] = np.array(used).T
    for record, (ids, history) in zip(records, used, strict=True):
        record["event"][ids:] = 0
        record["slots"][history:] = np.zeros((), dtype["slots"].base)
    return records


def test_a_packed_record_comes_back_and_holds_what_is_in_use_alone(spec: StreamSpec) -> None:
    records = filled(spec)
    packed = pack_users(records)
    assert unpack(packed, records.dtype).tobytes() == records.tobytes()
    unused = 8 * (D - records["num_ids"].astype(int)) + 24 * (H - records["num_history"].astype(int))
    assert [len(value) for value in packed] == (records.itemsize - unused).tolist()
    # Alone or among others.
    assert [pack_users(records[at : at + 1])[0] for at in range(len(records))] == packed
    assert unpack([None, packed[7], None], records.dtype).tobytes() == (
        bytes(records.itemsize) + records[7].tobytes() + bytes(records.itemsize)
    )
    assert unpack([None], records.dtype).tobytes() == bytes(records.itemsize)
    assert unpack([], records.dtype).tobytes() == b"" and pack_users(records[:0]) == []


def test_a_slate_reads_the_numbers_and_the_histories(spec: StreamSpec) -> None:
    records = filled(spec)
    for kept in (records, records[:1], records[-1:]):
        numbers, slots = read_users(pack_users(kept), kept.dtype)
        assert set(kept.dtype.names or ()) - set(numbers.dtype.names or ()) == {"event", "slots"}
        for name in numbers.dtype.names or ():
            assert numbers[name].tobytes() == kept[name].tobytes()
        longest = int(kept["num_history"].max())
        assert slots.shape == (len(kept), longest)
        assert slots.tobytes() == kept["slots"][:, :longest].tobytes()


def test_a_record_of_another_length_than_it_says_is_refused(spec: StreamSpec) -> None:
    values = pack_users(filled(spec))
    for damaged in (values[0][:-24], values[0][:9], values[0] + b"x", values[0] + bytes(24)):
        for read in (read_users, unpack):
            with pytest.raises(RecordError, match="damaged"):
                read([*values[1:], damaged], user_record(spec))
    with pytest.raises(RecordError, match="damaged"):
        read_seen([bytes(16), bytes(7)])
    assert read_seen([bytes(16), bytes(8)]).tolist() == [0, 0, 0]


def test_items_come_back(spec: StreamSpec) -> None:
    dtype = item_record(spec)
    records = np.frombuffer(np.random.default_rng(6).bytes(5 * dtype.itemsize), dtype)
    packed = pack_items(records)
    assert {len(value) for value in packed} == {dtype.itemsize}
    assert unpack([*packed, None], dtype).tobytes() == records.tobytes() + bytes(dtype.itemsize)


def test_keys_of_users_are_ordered_as_their_ids_are() -> None:
    ids = np.array([-(2**63), -(2**53) - 1, -1, 0, 1, 2**53 + 1, 2**63 - 1])
    keys = user_keys(ids)
    assert keys == sorted(keys) and len(set(keys)) == len(ids)
    assert [int.from_bytes(key, "big") - 2**63 for key in keys] == ids.tolist()
