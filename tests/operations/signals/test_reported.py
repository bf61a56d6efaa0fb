"""What users of drift libraries report: alarms of large samples, tiny windows, no numbers, and millions of values."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from ensemble.profile.bins import MOST_VALUES, Histogram, number_bins, value_bins
from operations.signals.distance import psi
from operations.signals.limits import LEARNT_FROM
from operations.signals.requests import request_signals
from operations.signals.slates import Sample
from operations.signals.table import Row, rows_of, with_states

NUM = 1_000_000


def sample(column: pa.Array, num: int) -> Sample:
    """Requests of one user each that hold a context column."""
    nothing = pa.array([[]] * num, pa.list_(pa.int32()))
    return Sample(
        pa.table(
            {
                "weight": np.ones(num),
                "user_key": pa.array([number.to_bytes(16, "little") for number in range(num)], pa.binary(16)),
                "attempt": np.ones(num, np.int8),
                "at_corrected": np.zeros(num, bool),
                "error": pa.nulls(num, pa.string()),
                "user_row": np.arange(num, dtype=np.int32),
                "recent": nothing,
                "slate_size": np.full(num, 10, np.int32),
                "context_value": column,
            }
        )
    )


def signals(column: pa.Array, reference: Histogram) -> dict[str, float]:
    found = request_signals(sample(column, len(column)), {"value": reference})
    return {each.signal: each.value for each in found if each.slice == "value" and each.value == each.value}


def test_two_halves_of_a_million_rows_differ_by_no_more_than_chance() -> None:
    """Fifty values; a test of significance calls every hundredth difference one, and the distance none."""
    random = np.random.default_rng(0)
    column = random.zipf(1.5, NUM) % 50
    whole = Histogram.of(value_bins(pa.array(column)), column)
    for _ in range(100):
        first = random.multivariate_hypergeometric(whole.counts.astype(np.int64), NUM // 2).astype(float)
        found = psi(Histogram(whole.bins, first, NUM / 2), Histogram(whole.bins, whole.counts - first, NUM / 2))
        assert found.is_enough and abs(found.value) <= 0.001
    bins = whole.bins
    again = {psi(Histogram.of(bins, column[: NUM // 2]), Histogram.of(bins, column[NUM // 2 :])) for _ in range(10)}
    assert len(again) == 1


def test_a_tiny_window_is_told_and_not_judged() -> None:
    reference = np.random.default_rng(0).integers(0, 40, 50_000)
    histogram = Histogram.of(value_bins(pa.array(reference)), reference)
    days: list[Row] = []
    for day in range(LEARNT_FROM + 2):
        window = pa.array(np.arange(8) if day >= LEARNT_FROM else reference[day * 3_000 : (day + 1) * 3_000])
        found = [*request_signals(sample(window, len(window)), {"value": histogram})]
        days += rows_of([each for each in found if each.signal == "column_psi"], day, "one", 1, len(window))
    *before, tiny = with_states(days, {})
    assert {row.state for row in before[:-1]} <= {"learning", "ok"}
    assert (tiny.state, tiny.measured.num, np.isfinite(tiny.measured.value)) == ("no_data", 8, True)


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_what_is_no_number_is_a_share_and_no_error(kind: pa.DataType) -> None:
    random = np.random.default_rng(0)
    trained, now = random.normal(size=20_000), random.normal(size=2_000)
    trained[random.random(20_000) < 0.03] = np.nan
    reference = Histogram.of(number_bins(trained), trained)
    third = np.where(random.random(2_000) < 0.3, np.nan, now)
    infinite = np.where(random.random(2_000) < 0.3, np.inf, now)
    nulls = pa.array(np.where(np.isnan(third), 0.0, third), kind, mask=np.isnan(third))
    for column in (pa.array(third, kind), nulls):
        found = signals(column, reference)
        assert found["null_share"] == pytest.approx(0.3, abs=0.04) and abs(found["column_psi"]) < 0.02
    found = signals(pa.array(infinite, kind), reference)
    assert found["null_share"] == 0 and abs(found["column_psi"]) < 0.02
    assert Histogram.of(reference.bins, infinite).counts[-1] == np.isinf(infinite).sum()
    found = signals(pa.array(np.full(2_000, np.nan), kind), reference)
    assert found == {"null_share": 1.0}
    nothing = Histogram.of(number_bins(np.full(50, np.nan)), np.full(50, np.nan))
    assert "column_psi" not in signals(pa.array(now, kind), nothing)


def test_millions_of_values_are_two_hundred_bins() -> None:
    """A million rows of five million texts: what is not frequent is one bin, and its share is a signal."""
    random = np.random.default_rng(0)
    numbers = np.where(random.random(NUM) < 0.5, random.integers(0, 300, NUM), random.integers(300, 5_000_000, NUM))
    column = pa.array(numbers).cast(pa.string())
    bins = value_bins(column)
    histogram = Histogram.of(bins, column)
    assert len(bins.values) == MOST_VALUES and histogram.counts.sum() == NUM
    others = histogram.counts[MOST_VALUES] / NUM
    assert 0.6 < others < 0.7
    assert signals(column.slice(0, 3_000), histogram)["other_share"] == pytest.approx(others, abs=0.05)
