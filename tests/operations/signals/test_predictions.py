"""Slates that are not whole, and rows that stand for others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.signals.logged import log_rows
from ensemble.profile.ask import Answers
from operations.signals.predictions import prediction_signals
from operations.signals.slates import Sample, sample_of
from runtime.request import Parsed

SLATES = [[3, 1, 2], [3, 3, 2], [4, 0, -1], [-1, -1, -1]]
SCORES = [[0.9, 0.5, 0.1], [0.9, np.nan, 0.1], [1.5, 0.2, -1], [-1, -1, -1]]
PATHS = [b"known_user", b"known_user", b"context", b"popularity"]


@pytest.fixture
def table() -> pa.Table:
    size, nothing = np.full(4, 3, np.int32), np.empty((4, 0), np.int32)
    requests = Parsed(np.arange(4, dtype=np.int32), nothing, nothing, size, {})
    answers = Answers({}, np.array(SLATES, np.int32), np.array(SCORES, np.float32), np.array(PATHS, object))
    spec: Any = SimpleNamespace(context_columns=())
    return log_rows(spec, requests, answers, np.arange(4))


def values(sample: Sample) -> dict[str, float]:
    found = prediction_signals(sample, {})
    return {f"{each.signal}:{each.slice}".rstrip(":"): each.value for each in found}


def test_each_slate_counts_where_it_should(table: pa.Table) -> None:
    found = values(sample_of(table))
    shares = {"empty": 0.25, "short": 0.25, "duplicates": 0.25, "bad_scores": 0.5}
    assert {name: found[name] for name in shares} == shares
    assert [found[f"path_share:{path}"] for path in ("known_user", "history", "context", "popularity")] == [
        0.5,
        0,
        0.25,
        0.25,
    ]


def test_a_row_counts_as_often_as_it_stands_for_and_others_never(table: pa.Table) -> None:
    weights = pa.array([10, 10, 20, 0], pa.float32())
    weighted = sample_of(table.set_column(table.column_names.index("weight"), "weight", weights))
    assert len(weighted) == 3
    assert values(weighted)["short"] == 0.5
    assert weighted.worth() == pytest.approx(40**2 / 600)
    reasons = pa.array(["hash", "slow", "error", "forced"]).dictionary_encode()
    assert len(sample_of(table.set_column(table.column_names.index("reason"), "reason", reasons))) == 1


def test_the_requests_of_one_user_are_worth_one(table: pa.Table) -> None:
    keys = pa.array([b"a" * 16, b"a" * 16, b"b" * 16, None], pa.binary(16))
    sample = sample_of(table.set_column(table.column_names.index("user_key"), "user_key", keys))
    assert sample.worth() == pytest.approx(16 / 6)
