"""The figures of drafted slates: ratios within one run, and the draft alone."""

from __future__ import annotations

import numpy as np

from benchmarks.drafts.measure import ALONE, BATCH, Settings, drafting_us, result_of


def test_each_is_compared_with_one_version_of_the_same_run() -> None:
    times = {ALONE: [1.0, 2.0, 9.0], "the other": [2.0, 2.0, 2.0], "a draft of both": [3.0, 3.0, 5.0]}
    took = {size: {name: size * np.array(each) for name, each in times.items()} for size in (1, BATCH)}
    found = result_of(Settings(320, 5), (0.5, 12.3), took, {"equal": 9.0})
    served = found.figures[0].rows
    assert [row[:2] for row in served[:3]] == [[ALONE, 1], ["the other", 1], ["a draft of both", 1]]
    assert [row[4] for row in served] == [1.0, 1.0, 1.5] * 2 and served[5][2] == 3.0 * BATCH
    [target] = found.targets
    assert (target.value, target.met) == (1.5, True) and found.notes == []
    assert "larger" in result_of(Settings(320, 5), (99.0, 1.0), took, {}).notes[0]


def test_the_draft_alone_is_timed_for_orders_of_every_kind() -> None:
    found = drafting_us(5)
    assert list(found) == ["equal", "half of the places", "every place"] and min(found.values()) > 0
