"""How two lists of slates differ, worked out by hand."""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ensemble.evaluation.gate_config import GateConfig
from operations.gate.requests import request_rows
from operations.shadow.ask import Answered, Slate
from operations.shadow.measure import Change, Shadow, measure, rank_biased_overlap
from operations.shadow.shadow import categories_of, lines
from workflows.core.errors import DataError

LIMITS = GateConfig(min_requests=4)


def slate(*items, wanted=3, path="known_user", score=0.5):
    return Slate(np.array(items, np.int64), np.full(len(items), score, np.float32), path, wanted)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2, 3], [1, 2, 3], 1.0),
        ([1, 2, 3], [4, 5, 6], 0.0),
        # Agreement 0 at depth 1 and 1 at depth 2: .81 + .1 / .9 * .81.
        ([1, 2], [2, 1], 0.9),
        ([], [], 1.0),
        ([], [1], 0.0),
        ([1, 2, 3], [1], 1.0),
    ],
)
def test_rank_biased_overlap_by_hand(first, second, expected):
    assert rank_biased_overlap(np.array(first), np.array(second)) == pytest.approx(expected)


@pytest.fixture(scope="module")
def found() -> Shadow:
    asked = Answered("version 2", 4, spent=[(0.004, 0.006, 2)])
    asked.pairs = [
        (slate(1, 2, 3), slate(1, 2, 4)),
        (slate(1, 2, 3), slate(path="popularity")),
        (slate(1, 2), slate(1, 5)),
        (slate(9, 1, 2), slate(1, 2, 9)),
    ]
    asked.errors = {("a", 1): "ValueError: x", ("b", 1): "ValueError: x"}
    return measure(asked, {"1": "red", "2": "red", "3": "blue", "4": "green"})


def test_sizes_paths_and_time(found):
    assert (found.empty, found.short) == (Change(0.0, 0.25), Change(0.25, 0.25))
    assert found.paths == {"known_user": Change(1.0, 0.75), "popularity": Change(0.0, 0.25)}
    assert found.cpu_ms == Change(2.0, 3.0)
    assert (found.num_errors, found.errors) == (2, {"ValueError: x": 2})


def test_overlap_and_exposure(found):
    assert (found.k, found.overlap_at_k) == (3, pytest.approx((2 / 3 + 0 + 1 / 2 + 1) / 4))
    assert found.num_items == Change(4, 5)
    assert found.items["3"] == Change(2, 0) and found.items["2"] == Change(4, 2)
    assert found.categories == {
        "blue": Change(2, 0),
        "green": Change(0, 1),
        "red": Change(8, 5),
        "unknown": Change(1, 2),
    }


def test_scores_are_compared_without_those_of_popularity():
    asked = Answered(pairs=[(slate(1, 2, 3, score=0.2), slate(1, 2, 3, score=0.9, path="popularity"))])
    assert measure(asked, {}).score_js is None
    asked.pairs.append((slate(1, 2, 3, score=0.2), slate(1, 2, 3, score=0.9)))
    apart = measure(asked, {}).score_js
    assert apart is not None and apart > 0.3


def test_the_table_has_every_figure(found):
    text = "\n".join(lines(found))
    assert "errors            50.00% of the requests" in text
    assert "overlap@3" in text and "CPU a user, ms" in text and "red" in text


def test_rows_of_the_gate(found):
    rows = {row.name: row for row in request_rows(found, LIMITS)}
    met = {name: row.met for name, row in rows.items()}
    assert met == {
        "requests asked again": True,
        "share of the requests at which the candidate raises": False,
        "empty and short slates, change of their share": False,
        "processor time a user, relative change": None,
        "distinct items shown, share that is left": True,
    }
    few = next(request_rows(found, GateConfig()))
    assert few.met is None and few.missing == "the log holds 4 requests that can be asked again"
    # Of four requests a short slate is chance, an exception is none.
    of_few = {row.name: row.met for row in request_rows(found, GateConfig())}
    assert [name for name, met in of_few.items() if met is False] == [
        "share of the requests at which the candidate raises"
    ]


def test_a_category_that_loses_too_much_is_named_unless_it_is_expected(found):
    shares = {"red": Change(1_000, 900), "blue": Change(300, 100), "green": Change(250, 90), "rare": Change(10, 0)}
    lost = msgspec.structs.replace(found, categories=shares)
    rows = {row.name: row for row in request_rows(lost, LIMITS) if "category" in row.name}
    assert {name.split()[3].rstrip(","): row.met for name, row in rows.items()} == {"blue": False, "green": False}
    many = msgspec.structs.replace(LIMITS, expected=("blue", "green"))
    rows = {row.name: row for row in request_rows(lost, many) if "category" in row.name}
    assert [(row.value, row.met) for row in rows.values()] == [(0.9, True)]


def test_categories_come_from_the_items_table(tmp_path):
    (tmp_path / "data/ids").mkdir(parents=True)
    assert categories_of(tmp_path / "nowhere", "") == {}
    np.save(tmp_path / "data/ids/items.npy", np.array([b"a", b"b"], "S1"))
    pq.write_table(pa.table({"brand": ["x", None], "price": [1.0, 2.0]}), tmp_path / "data/items.parquet")
    assert categories_of(tmp_path, "") == {}
    assert categories_of(tmp_path, "brand") == {"a": "x", "b": "none"}
    with pytest.raises(DataError, match=r"gate\.category = 'colour': the items table has the columns brand, price"):
        categories_of(tmp_path, "colour")


def test_processor_time_is_worse_only_beyond_chance():
    def row_of(*after):
        found = measure(Answered("version 2", 9, spent=[(0.1, 0.1 * each, 100) for each in after]), {})
        return next(row for row in request_rows(found, LIMITS) if row.name.startswith("processor time"))

    # Ratios 1.1, 1.2 and 1.3: the logarithms spread by .0836, times 4.30 / sqrt(3) is .2076 around .1803.
    unsure = row_of(1.1, 1.2, 1.3)
    assert (unsure.met, unsure.value) == (None, pytest.approx(0.2))
    assert (unsure.low, unsure.high) == (pytest.approx(-0.027, abs=0.002), pytest.approx(0.474, abs=0.002))
    assert row_of(1.2, 1.21, 1.2, 1.19, 1.2).met is False
    assert row_of(1.05, 0.95, 1.05, 0.95, 1.05).met is True
    # Of two pairs there is no interval.
    assert (row_of(1.2, 1.2).met, row_of(1.2, 1.2).low) == (None, None)
