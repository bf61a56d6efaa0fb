"""Scores are computed on one thread, whatever the process is set to, and the process is left as it was."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from runtime.ranker.blas import _loaded, one_thread
from runtime.ranker.factored import FactoredWeights, score

NUM_ITEMS, FIELDS, QUERY_FIELDS, DIM, HIDDEN, PAIRS = 900, 6, 7, 32, 128, 3


def num_threads() -> set[int]:
    """Of every BLAS in this process; where OpenMP counts, as in the one of newer FAISS, each thread has its own."""
    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    return {library["num_threads"] for library in found if library.get("threading_layer") != "openmp"}


@pytest.fixture(params=[1, 2])
def allowed(request):
    """How many threads the process allows."""
    with threadpool_limits(request.param, "blas"):
        yield request.param


def weights(random, items):
    def normal(*shape):
        return random.normal(size=shape).astype(np.float32)

    layers = ((normal(HIDDEN, 64), normal(64)), (normal(64, 1), normal(1)))
    return FactoredWeights(items, normal(FIELDS * QUERY_FIELDS, HIDDEN), normal(PAIRS, HIDDEN), normal(PAIRS), layers)


def scores():
    """Of 20 users with 300 candidates each, and the numbers of threads while they were computed."""
    random, seen = np.random.default_rng(0), set()
    fields = random.normal(size=(NUM_ITEMS, FIELDS, DIM)).astype(np.float32)
    hidden = random.normal(size=(NUM_ITEMS, HIDDEN)).astype(np.float32)

    def items(rows):
        seen.update(num_threads())
        return fields[rows], hidden[rows]

    query, query_hidden = random.normal(size=(20, QUERY_FIELDS, DIM)), random.normal(size=(20, HIDDEN))
    rows, pair = random.integers(0, NUM_ITEMS, (20, 300)), random.normal(size=(20, 300, PAIRS))
    given = (query.astype(np.float32), query_hidden.astype(np.float32), rows, pair.astype(np.float32))
    return score(*given, weights(random, items)), seen


def test_scores_are_equal_to_the_last_bit_on_any_number_of_threads(allowed):
    with threadpool_limits(1, "blas"):
        alone, _ = scores()
    found, seen = scores()
    np.testing.assert_array_equal(found, alone)
    assert seen == {1}
    assert num_threads() == {allowed}


def test_the_last_of_several_bodies_at_once_ends_it(allowed):
    entered, leave = threading.Event(), threading.Event()

    def other():
        with one_thread:
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    with one_thread:
        thread.start()
        entered.wait(30)
    assert num_threads() == {1}
    leave.set()
    thread.join()
    assert num_threads() == {allowed}


def test_an_error_inside_leaves_the_process_as_it_was(allowed):
    with pytest.raises(ZeroDivisionError), one_thread:
        raise ZeroDivisionError
    assert num_threads() == {allowed}


def test_mapped_files_may_have_names_that_are_no_text(tmp_path):
    folder = os.fsencode(tmp_path) + b"/l\xe9 a\xc3\xbc"
    os.mkdir(folder)  # noqa: PTH102, a Path of these bytes is what is tested
    np.save(os.fsdecode(folder + b"/x.npy"), np.zeros(9))
    mapped = np.load(os.fsdecode(folder + b"/x.npy"), mmap_mode="r")
    assert len(mapped) == 9
    assert _loaded() and all("openblas" in path or "blas" in path or "mkl" in path for path in _loaded())
