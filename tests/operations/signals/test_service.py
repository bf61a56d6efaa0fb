"""Whether live events reach the slates, and how long requests take."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.signals.logged import log_rows
from ensemble.profile.ask import Answers
from operations.signals.features import asked_again, feature_signals, knows_events
from operations.signals.service import service_signals
from operations.signals.slates import Sample, sample_of
from runtime.request import Parsed

NUM = 400


@pytest.fixture
def table() -> pa.Table:
    nothing = np.empty((NUM, 0), np.int32)
    requests = Parsed(np.arange(NUM, dtype=np.int32), nothing, nothing, np.full(NUM, 2, np.int32), {})
    rows = np.stack([np.arange(NUM), np.arange(NUM) + 1], axis=1).astype(np.int32)
    answers = Answers({}, rows, np.full((NUM, 2), 0.5, np.float32), np.full(NUM, b"known_user", object))
    spec: Any = SimpleNamespace(context_columns=())
    return log_rows(spec, requests, answers, np.arange(NUM))


def live(table: pa.Table, offsets: list[int | None], ages_ms: list[int]) -> Sample:
    """Rows of a chain with a live state; those that know it cannot be asked again to the bit."""
    known = pa.array([offset is not None and offset >= 0 for offset in offsets])
    at = table.column_names.index("replayable")
    table = table.set_column(at, "replayable", pa.array(~np.array(known.to_pylist())))
    table = table.append_column("stream_offset", pa.array(offsets, pa.int64()))
    return sample_of(table.append_column("state_age_ms", pa.array(ages_ms, pa.int64())))


def values(sample: Sample) -> dict[str, float]:
    return {each.signal: each.value for each in service_signals(sample)}


def test_a_chain_without_a_state_has_times_alone(table: pa.Table) -> None:
    assert values(sample_of(table)) == {"service_ms": 2.0}


def test_a_state_that_is_away_or_stands_still_is_told(table: pa.Table) -> None:
    # A tenth of the slates know nothing, as many know users without an event; of the others one in eight is new.
    offsets = [-1 if row % 10 == 0 else 7 for row in range(NUM)]
    ages = [-1 if row % 10 < 2 else 1_000 if row % 10 == 5 else 3_600_000 for row in range(NUM)]
    found = values(live(table, offsets, ages))
    assert found == {"service_ms": 2.0, "not_live": 0.1, "event_age_s": 1.0}
    day_later = [age + 86_400_000 if age >= 0 else -1 for age in ages]
    assert values(live(table, offsets, day_later))["event_age_s"] == 86_401.0


def test_without_any_event_there_is_no_age(table: pa.Table) -> None:
    (age,) = [each for each in service_signals(live(table, [None] * NUM, [-1] * NUM)) if each.signal == "event_age_s"]
    assert np.isnan(age.value) and not age.is_enough


def test_slates_with_live_events_are_asked_for_their_features_and_not_compared(table: pa.Table) -> None:
    sample = live(table, [7 if row % 2 else -1 for row in range(NUM)], [0] * NUM)
    assert knows_events(sample).tolist() == [bool(row % 2) for row in range(NUM)]
    rows = asked_again(sample)
    assert len(rows) == NUM
    # What the files give is right for those that knew no event, and another thing for the others.
    given = np.stack([np.arange(NUM), np.arange(NUM) + 1 + np.arange(NUM) % 2], axis=1).astype(np.int32)
    answers = Answers({}, given, np.full((NUM, 2), 0.5, np.float32), np.full(NUM, b"known_user", object))
    chain: Any = SimpleNamespace(spec=SimpleNamespace(history_feature=""))
    profile: Any = SimpleNamespace(features={}, directions=np.empty((0, 0)))
    (mismatch,) = feature_signals(chain, rows, answers, profile)
    assert (mismatch.signal, mismatch.value, mismatch.num) == ("replay_mismatch", 0.0, NUM // 2)
