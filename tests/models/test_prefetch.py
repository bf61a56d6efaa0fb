"""Prefetched batches: the same ones in the same order, errors in their place, no thread left behind."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import pytest

from models.training.prefetch import prefetch


@pytest.mark.parametrize("depth", [1, 3])
def test_items_keep_their_order(depth: int) -> None:
    assert list(prefetch(range(50), depth)) == list(range(50))
    assert list(prefetch([], depth)) == []


def test_an_error_comes_after_the_items_before_it() -> None:
    def failing() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("the third")

    items = prefetch(failing())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="the third"):
        next(items)


def test_the_thread_ends_when_the_consumer_does() -> None:
    before = set(threading.enumerate())  # some of other tests may end meanwhile
    made = []
    items = prefetch(made.append(n) or n for n in itertools.count())
    assert list(itertools.islice(items, 3)) == [0, 1, 2]
    items.close()
    assert set(threading.enumerate()) <= before
    assert len(made) <= 7
