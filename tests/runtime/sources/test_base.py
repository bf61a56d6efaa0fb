"""What all sources ask of a batch: its users, worked out once, and which items of theirs are not blocked."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from runtime.seen import SeenItems
from runtime.sources.base import QueriedUser, QueriedUsers, Source, real, unmarked
from runtime.spec import LIVE_SEEN

NUM_USERS, NUM_ITEMS = 5, 40


@pytest.fixture
def seen(tmp_path) -> SeenItems:
    (tmp_path / "state").mkdir()
    random = np.random.default_rng(1)
    rows = [np.sort(random.permutation(NUM_ITEMS)[:count]).astype(np.int32) for count in (0, 1, 7, 20, 3)]
    np.save(tmp_path / "state/seen_indptr.npy", np.append(0, np.cumsum([len(row) for row in rows])))
    np.save(tmp_path / "state/seen_rows.npy", np.concatenate(rows))
    return SeenItems(tmp_path)


def batch_of(seed: int, *, live: bool = True) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    rows = {name: random.integers(-1, NUM_ITEMS, (6, 4)).astype(np.int32) for name in ("recent_rows", "excluded_rows")}
    of_live = {LIVE_SEEN: random.integers(-1, NUM_ITEMS, (6, 3)).astype(np.int32)} if live else {}
    return {
        "user_row": np.array([[3], [-1], [0], [4], [2], [3]], np.int32),
        "path_code": np.zeros((6, 1), np.int32),
        **rows,
        **of_live,
    }


class AnySource(Source):
    """A source whose files are those of all sources."""

    def __init__(self, seen: SeenItems, filter_seen: bool = True) -> None:
        super().__init__()
        self._seen, self._filter_seen = seen, filter_seen


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("filter_seen", [True, False])
def test_a_user_has_the_items_of_the_export_of_events_and_of_the_request(seen, live, filter_seen):
    for seed in range(20):
        batch = batch_of(seed, live=live)
        for place, user in enumerate(AnySource(seen, filter_seen).users(batch)):
            assert isinstance(user, QueriedUser)
            requested = real(batch["recent_rows"][place])
            items = [seen.of(int(batch["user_row"][place, 0])), requested]
            items += [real(batch[LIVE_SEEN][place])] if live else []
            expected = np.unique(np.concatenate(items))
            excluded = real(batch["excluded_rows"][place])
            blocked = np.unique(np.concatenate([expected, excluded] if filter_seen else [excluded]))
            assert user.requested.tolist() == requested.tolist()
            assert (user.seen.tolist(), user.blocked.tolist()) == (expected.tolist(), blocked.tolist())
            assert user.seen.dtype == user.blocked.dtype == np.int32


def test_the_sources_of_a_batch_share_its_users_and_no_other_batch_has_them(seen, tmp_path):
    batch = batch_of(7)
    first, second = list(AnySource(seen).users(batch)), list(AnySource(SeenItems(tmp_path)).users(batch))
    assert all(one is other for one, other in zip(first, second, strict=True))
    others = [
        AnySource(seen, filter_seen=False).users(batch),
        AnySource(seen).users({name: values.copy() for name, values in batch.items()}),
        AnySource(seen).users({**batch, "recent_rows": batch["recent_rows"][::-1]}),
        AnySource(seen).users({name: values for name, values in batch.items() if name != LIVE_SEEN}),
    ]
    for users in others:
        assert all(one is not other for one, other in zip(first, users, strict=True))


def test_no_array_of_a_batch_outlives_it(seen):
    batch = batch_of(7)
    list(AnySource(seen).users(batch))
    arrays = [weakref.ref(values) for values in batch.values()]
    del batch
    gc.collect()
    assert [array() for array in arrays] == [None] * len(arrays)


def test_users_of_an_ended_batch_are_of_no_other(seen):
    batch = batch_of(7)
    key = [batch["user_row"], batch["recent_rows"], batch["excluded_rows"], batch[LIVE_SEEN]]
    users = QueriedUsers(key, seen, filter_seen=True)
    assert users.are_of(key, seen, filter_seen=True)
    del batch, key
    gc.collect()
    other = batch_of(7, live=False)
    assert not users.are_of(
        [other["user_row"], other["recent_rows"], other["excluded_rows"], None], seen, filter_seen=True
    )


def test_rows_that_are_not_blocked():
    random, marks = np.random.default_rng(2), np.zeros(NUM_ITEMS, bool)
    for _ in range(50):
        rows = random.integers(0, NUM_ITEMS, random.integers(0, 30))
        blocked = random.integers(0, NUM_ITEMS, random.integers(0, 30))
        assert unmarked(rows, blocked, marks).tolist() == np.isin(rows, blocked, invert=True).tolist()
        assert not marks.any()
