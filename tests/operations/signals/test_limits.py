"""Limits: learnt from the past alone, two windows in a row, and what is out of them teaches nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from operations.signals.kinds import KINDS, SHARES, Measured
from operations.signals.limits import IN_A_ROW, LEARNT_FROM, Judged, Point, judge
from operations.signals.table import Row, with_states

SHIFT = 5.0


def points(values: list[float], spread: float = 0.0, first: int = 0) -> list[Point]:
    return [Point(first + at, value, spread, bool(np.isfinite(value))) for at, value in enumerate(values)]


def states(values: list[float], side: str = "high", **options) -> list[str]:
    return [judged.state for judged in judge(points(values, **options), side)]


def steady(num: int, seed: int = 0) -> list[float]:
    return np.random.default_rng(seed).normal(1, 0.1, num).tolist()


def test_the_limit_is_the_larger_of_median_and_mads_and_a_margin_over_the_largest() -> None:
    values = [1.0, 2.0, 3.0, 4.0] * 5
    judged = list(judge(points([*values, 2.0]), "both"))[-1]
    # median 2.5, MAD 1, largest 4.
    assert judged == Judged((2.5 - 4, 2.5 + 4), "ok", -1)
    tight = [2.0, *[1.0] * 19]
    assert list(judge(points([*tight, 1.0]), "high"))[-1].limits == (-np.inf, 2.1)


def test_fourteen_windows_are_learnt_from_before_anything_is_judged() -> None:
    assert states([*steady(LEARNT_FROM - 1), SHIFT, SHIFT])[-2:] == ["learning", "ok"]
    assert states([*steady(LEARNT_FROM), SHIFT, SHIFT])[-2:] == ["ok", "high"]


@pytest.mark.parametrize(("shift", "state"), [(SHIFT, "high"), (-SHIFT, "low")])
def test_two_windows_in_a_row_are_an_alarm_and_it_ends_with_the_first_within(shift: float, state: str) -> None:
    assert IN_A_ROW == 2
    judged = list(judge(points([*steady(20), shift, shift, shift, 1.0]), "both"))
    assert [each.state for each in judged[-4:]] == ["ok", state, state, "ok"]
    assert [each.since for each in judged[-4:]] == [-1, 20, 20, -1]


def test_one_window_is_none_and_neither_are_two_on_different_sides() -> None:
    assert set(states([*steady(20), SHIFT, 1.0, SHIFT, 1.0, 1.0])[LEARNT_FROM:]) == {"ok"}
    assert set(states([*steady(20), SHIFT, -SHIFT, SHIFT], "both")[LEARNT_FROM:]) == {"ok"}


def test_windows_out_of_the_limits_teach_nothing() -> None:
    judged = list(judge(points([*steady(20), *[SHIFT] * 30]), "high"))
    assert {each.state for each in judged[21:]} == {"high"}
    assert len({each.limits for each in judged[20:]}) == 1


def test_a_single_one_teaches_once_it_has_passed() -> None:
    judged = list(judge(points([*steady(20), SHIFT, 1.0, 1.0]), "high"))
    assert judged[-2].limits.high < SHIFT < judged[-1].limits.high


def test_a_limit_is_never_within_what_chance_alone_does() -> None:
    values = [*[0.0] * 20, 0.01, 0.01]
    assert states(values)[-1] == "high"
    assert states(values, spread=0.005)[-1] == "ok"


def shares(values: list[float], users: list[float]) -> list[Point]:
    """With the spread that `Sample.share` gives."""
    smooth = [(v * n + 1) / (n + 2) for v, n in zip(values, users, strict=True)]
    return [
        Point(day, v, float(np.sqrt(s * (1 - s) / n)), True, n)
        for day, (v, s, n) in enumerate(zip(values, smooth, users, strict=True))
    ]


def test_one_stray_request_after_a_past_without_any_is_no_alarm() -> None:
    found = [point._replace(spread=0.0) for point in shares([*[0.0] * 20, *[1 / 200] * 3], [200.0] * 23)]
    judged = list(judge(found, "high"))
    assert {each.state for each in judged[LEARNT_FROM:]} == {"ok"}
    # Three of 200 are more than what 4,000 without one leave possible and chance makes of that in 200.
    assert judged[20].limits.high == 3 / 200 > 3 / 4_000 + 3 * np.sqrt(3 / 4_000 / 200)
    assert list(judge([point._replace(num=0.0) for point in found], "high"))[-1].state == "high"


def test_few_users_without_one_do_not_say_that_many_have_none() -> None:
    """20 in 10,000 are .2%, which 20 windows of 50 without one cannot tell from nothing: .3% is likely."""
    found = shares([*[0.0] * 20, 0.002, 0.002], [*[50.0] * 20, 10_000.0, 10_000.0])
    assert list(judge(found, "high"))[-1].state == "ok"
    assert list(judge([point._replace(num=0.0) for point in found], "high"))[-1].state == "high"


@pytest.mark.parametrize("turned", [False, True])
def test_what_becomes_frequent_is_found_on_either_side(turned: bool) -> None:
    values = [*[0.0] * 20, 0.08, 0.08]
    found = shares([1 - value if turned else value for value in values], [1_000.0] * 22)
    assert list(judge(found, "both"))[-1].state == ("low" if turned else "high")
    # What is known well has limits as before.
    often = shares([0.3] * 22, [1_000.0] * 22)
    assert list(judge(often, "both")) == list(judge([point._replace(num=0.0) for point in often], "both"))


def test_every_share_has_the_floor_and_a_mismatch_has_none() -> None:
    assert KINDS.keys() >= SHARES and "replay_mismatch" not in SHARES
    for signal in (*SHARES, "replay_mismatch"):
        days = [
            *[row(day, signal, 0.0, "one") for day in range(20)],
            *(row(d, signal, 0.0055, "one") for d in (20, 21)),
        ]
        flat = [replace(each, measured=each.measured._replace(spread=0.0)) for each in days]
        assert (with_states(flat, {})[-1].state == "high") == (signal == "replay_mismatch"), signal


def test_a_week_is_compared_with_its_own_days() -> None:
    random = np.random.default_rng(1)
    weekly = [(3.0 if day % 7 in (2, 3) else 1.0) + random.normal(0, 0.05) for day in range(49)]
    assert set(states(weekly, "both")[LEARNT_FROM:]) == {"ok"}
    # As at a weekend, in the middle of the week.
    assert states([*weekly[:46], 3.0, 3.0], "both")[-1] == "high"


def test_accepted_values_are_the_new_normal_from_their_first_day_on() -> None:
    values = [*steady(20), *[SHIFT] * 20, *[2 * SHIFT] * 2]
    judged = list(judge(points(values), "high", accepted=[20]))
    assert [each.state for each in judged[20:34]] == ["learning"] * LEARNT_FROM
    assert [each.state for each in judged[34:]] == [*["ok"] * 7, "high"]


def test_what_is_not_enough_is_told_and_not_judged() -> None:
    values = points([*steady(20), SHIFT, SHIFT])
    thin = [point._replace(is_enough=point.day < 20) for point in values]
    assert [each.state for each in judge(thin, "high")][-2:] == ["no_data", "no_data"]
    assert states([*steady(20), float("nan"), SHIFT, float("nan"), SHIFT])[-4:] == ["no_data", "ok", "no_data", "high"]


def test_ages_have_no_limit() -> None:
    assert set(states([float(day) for day in range(40)], "none")) == {"ok"}


def test_months_without_a_change_are_quiet() -> None:
    alarms = 0
    for seed in range(200):
        judged = judge(points(steady(58, seed), spread=0.1), "both")
        alarms += len({each.since for each in judged if each.state in ("high", "low")})
    # 200 signals for 44 judged days each.
    assert alarms <= 4


def test_until_it_has_a_past_of_its_own_a_signal_is_judged_by_that_of_the_versions_before() -> None:
    before, own = points(steady(20)), points([1.0, SHIFT, SHIFT, 1.0], first=20)
    assert [judged.state for judged in judge(own, "high", before=before)] == ["ok", "ok", "high", "ok"]
    assert {judged.state for judged in judge(own, "high", before=before[: LEARNT_FROM - 1])} == {"learning"}
    # What was before an accepted day teaches nothing, whether that is a day of this version or one before.
    assert [judged.state for judged in judge(own, "high", {21}, before)] == ["ok", *["learning"] * 3]
    assert {judged.state for judged in judge(own, "high", {19}, before)} == {"learning"}
    # With fourteen windows of its own the others count no longer.
    lower = points([0.1] * LEARNT_FROM + [0.5, 0.5], first=20)
    assert [judged.state for judged in judge(lower, "high", before=before)][-2:] == ["ok", "high"]


def row(day: int, signal: str, value: float, key: str) -> Row:
    return Row(day, key, 1, Measured(signal, "", value, 0.0, 0.01, 500, 500.0), 500)


@pytest.mark.parametrize(("signal", "state"), [("query_drift", "high"), ("coverage", "learning")])
def test_a_distance_of_a_new_version_has_limits_at_once_and_a_level_has_none(signal: str, state: str) -> None:
    old = [row(day, signal, 0.1, "old") for day in range(20)]
    spoilt = [row(day, signal, 5.0, "old") for day in (20, 21)]
    new = [row(day, signal, 4.0, "new") for day in (22, 23)]
    judged = with_states([*old, *spoilt, *new], {})
    assert [each.state for each in judged if each.chain_key == "new"][-1] == state
    # Its alarm is its own: what was out of its limits has taught nothing, and began with the new version.
    assert judged[-1].since == (22 if state == "high" else -1)
