"""Entries of a cache of slates: what is written is read again, and what is damaged is none."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from cascade_client.slate_entry import MAX_USER_BYTES, NEVER, Entry, entry_key, user_key
from runtime.stream.keys import user_keys

IDS = {"integers": [5, -3, 2**53 + 1], "texts": ["a", "ü\0b", "item-3" * 40], "none": []}


def entry(items: list) -> Entry:
    is_text = any(isinstance(item, str) for item in items)
    keys = np.arange(len(items)) + 2**60 if is_text else np.array(items, np.int64)
    return Entry(
        "12.ab34cd56", 2**40, 17, NEVER, "known_user", items, np.float32([0.5, 0.25, 0.125][: len(items)]), keys
    )


@pytest.mark.parametrize("items", IDS.values(), ids=list(IDS))
def test_what_is_written_is_read_again(items: list) -> None:
    written = entry(items)
    read = Entry.from_bytes(written.to_bytes())
    assert read is not None
    for name, value in asdict(written).items():
        found = getattr(read, name)
        assert found.tolist() == value.tolist() if isinstance(value, np.ndarray) else found == value


def test_every_damage_makes_it_no_entry() -> None:
    value = entry([5, 6, 7]).to_bytes()
    assert Entry.from_bytes(None) is None
    assert all(Entry.from_bytes(value[:size]) is None for size in range(len(value)))
    for place in range(len(value)):
        damaged = bytearray(value)
        damaged[place] ^= 1
        assert Entry.from_bytes(bytes(damaged)) is None


def test_a_user_has_the_key_of_the_live_state() -> None:
    numbers = [0, 7, -7, 2**53 + 1, 2**63 - 1, -(2**63)]
    assert [user_key(number, False) for number in numbers] == user_keys(np.array(numbers))
    texts = ["007", "ü", "a\0b"]
    assert [user_key(text, True) for text in texts] == user_keys(np.array([text.encode() for text in texts], object))
    assert user_key("7", False) == user_key(np.int64(7), False) == user_key(7, False)
    assert user_key(7, True) == user_key("7", True) != user_key("07", True)


@pytest.mark.parametrize(
    ("user", "is_text"),
    [("abc", False), (2**63, False), (1.5, False), (None, False), ("", True), ("x" * (MAX_USER_BYTES + 1), True)],
)
def test_what_can_be_no_user_has_no_key(user, is_text: bool) -> None:
    assert user_key(user, is_text) is None


def test_versions_do_not_see_each_others_entries() -> None:
    assert not entry_key("1", b"0.5\0x").startswith(entry_key("1.0", b""))
    assert len({entry_key("1", b"a"), entry_key("1.a", b""), entry_key("1", b"\0a"), entry_key("", b"1\0a")}) == 4
