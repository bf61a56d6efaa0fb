"""Which requests are in the sample, and what users are called there."""

from __future__ import annotations

import numpy as np

from runtime.log.folder import Salt
from runtime.log.sampling import key_of, limit_of, user_bytes, users_of


def test_a_share_of_ids_is_in_the_sample_and_a_larger_share_holds_it():
    keys = [key_of(f"id-{number}") for number in range(100_000)]
    sampled = {key for key in keys if key < limit_of(0.05)}
    assert abs(len(sampled) / len(keys) - 0.05) <= 0.002
    assert sampled <= {key for key in keys if key < limit_of(0.06)}
    assert not [key for key in keys if key < limit_of(0.0)]
    assert all(key < limit_of(1.0) for key in keys)


def test_the_sample_is_the_same_in_every_release():
    assert [key_of("a"), key_of("")] == [5989423291533506650, 830359349830124979]


def test_a_user_is_called_the_same_however_the_id_came():
    assert users_of(np.array([["7"], [b"7"]], object)) == [b"7", b"7"]
    assert len({user_bytes(np.int32(7)), user_bytes(7), user_bytes(np.uint64(7))}) == 1
    assert user_bytes(7) != user_bytes("7")
    assert len({user_bytes(-1), user_bytes(2**64 - 1)}) == 2


def test_a_key_depends_on_the_salt():
    assert Salt("a", b"1" * 32).user_key(b"7") != Salt("b", b"2" * 32).user_key(b"7")
    assert len(Salt("a", b"1" * 32).user_key(b"7")) == 16
