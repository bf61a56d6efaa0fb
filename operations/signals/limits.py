"""Limits that are learnt from a signal's own past, and whether it is within them.

A value is out of its limits above max(median + 4 MAD, 1.05 x max) of the latest 56 windows that were within theirs, or
below the same on the other side; the residuals from each weekday's mean take the values' place where the weekdays
differ beyond chance. It is never out of them by less than three times what chance alone moves it. Two windows in a row
on the same side are an alarm; its windows teach nothing, and a single one teaches once the next one is within.

A share that the past has hardly seen, or that was hardly ever missing, has been shown to be small and not to be 0:
where N users were counted without one, it may be 3 / N (the rule of three), and as much more in a window as chance
gives then. Of a window of n users 3 / n is within the limits in any case, so that one request is never an alarm.

A signal with a past of each version's own is judged by the versions before until it has one, where it says how far the
version is from what it was itself made with: that begins near 0 whatever the version is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from operations.signals.kinds import Side

__all__ = ["IN_A_ROW", "LEARNT_FROM", "MOST_LEARNT", "Judged", "Limits", "Point", "State", "judge", "learn"]

# Windows before there are limits at all, and the latest ones that they are learnt from.
LEARNT_FROM, MOST_LEARNT = 14, 56
IN_A_ROW = 2
MADS, MARGIN, SPREADS = 4.0, 0.05, 3.0
# Weeks without which no season shows, and the F statistic from which it does (about p = .005 with four weeks).
LEAST_WEEKS, SEASON_F = 3, 4.5
DAYS = 7
# With 95% confidence what was never seen in N happens at most 3 times in N; what was seen as often as this is known.
OF_THREE, RARE = 3.0, 10.0
State = Literal["learning", "ok", "high", "low", "no_data"]


class Point(NamedTuple):
    """A signal of one window.

    Attributes:
        day: days since 1970.
        value: NaN where there is none.
        spread: how far chance alone moves it, one standard deviation.
        is_enough: whether it may be judged.
        num: of a share, users of equal weight that it is of; 0: it is no share.
    """

    day: int
    value: float
    spread: float
    is_enough: bool
    num: float = 0.0


class Limits(NamedTuple):
    """Between which a value is as before; infinite where there is none."""

    low: float
    high: float


class Judged(NamedTuple):
    """What became of a point.

    Attributes:
        limits: of that window.
        state: high and low are alarms.
        since: day of the first window of the alarm; -1 without one.
    """

    limits: Limits
    state: State
    since: int


NONE = Limits(-np.inf, np.inf)


def judge(
    points: Sequence[Point], side: Side, accepted: Collection[int] = (), before: Sequence[Point] = ()
) -> Iterator[Judged]:
    """Walk through a signal's windows; each is judged by those before it alone.

    Args:
        points: ascending days.
        side: where it has a limit.
        accepted: days from which on the values are the new normal: what was before them teaches nothing.
        before: windows within their limits, which judge until there are enough of these; none: nothing does.
    """
    history: deque[Point] = deque(maxlen=MOST_LEARNT)
    first = max((day for day in accepted if points and day <= points[0].day), default=0)
    known = deque((point for point in before if point.day >= first), maxlen=MOST_LEARNT)
    outside: list[Point] = []
    direction: State = "ok"
    for point in points:
        if point.day in accepted:
            history.clear()
            known.clear()
            outside = []
        if not point.is_enough or not np.isfinite(point.value):
            yield Judged(NONE, "no_data", -1)
            continue
        if side == "none":
            yield Judged(NONE, "ok", -1)
            continue
        teaching = history if len(history) >= LEARNT_FROM else known
        if len(teaching) < LEARNT_FROM:
            history.append(point)
            yield Judged(NONE, "learning", -1)
            continue
        limits = learn(teaching, point, side)
        now: State = "high" if point.value > limits.high else "low" if point.value < limits.low else "ok"
        if now == "ok":
            if len(outside) < IN_A_ROW:
                history.extend(outside)
            history.append(point)
            outside = []
        else:
            outside = [*(outside if now == direction else []), point]
        direction = now
        is_alarm = len(outside) >= IN_A_ROW
        yield Judged(limits, now if is_alarm else "ok", outside[0].day if is_alarm else -1)


def learn(history: Collection[Point], point: Point, side: Side) -> Limits:
    """The limits of a window.

    Args:
        history: windows that were within theirs.
        point: the window, for its weekday and spread.
        side: where there is a limit.
    """
    values = np.array([each.value for each in history])
    weekdays = np.array([each.day % DAYS for each in history])
    base, residuals = float(np.median(values)), values - np.median(values)
    if _has_season(values, weekdays) and (weekdays == point.day % DAYS).sum() > 1:
        base, residuals = _within_weekdays(values, weekdays, point.day % DAYS)
    middle = float(np.median(residuals))
    reach = MADS * float(np.median(np.abs(residuals - middle)))
    least = SPREADS * point.spread if np.isfinite(point.spread) else 0.0
    top, bottom = base + float(residuals.max()), base + float(residuals.min())
    high = max(base + middle + reach, top + MARGIN * abs(top), base + least)
    low = min(base + middle - reach, bottom - MARGIN * abs(bottom), base - least)
    if point.num:
        high = max(high, _most(values, history, point.num))
        low = min(low, 1 - _most(1.0 - values.astype(np.float64), history, point.num))
    return Limits(low if side == "both" else -np.inf, high)


def _most(shares: NDArray[np.float64], history: Collection[Point], num: float) -> float:
    """The share that a window may have of something so rare that the past could not tell it from 0; else 0.

    Args:
        shares: of the history's windows.
        history: whose numbers of users count.
        num: users of the window.
    """
    users = np.array([each.num for each in history])
    seen = float(shares @ users)
    if seen >= RARE or not users.sum():
        return 0.0
    likely = (seen + SPREADS * np.sqrt(seen) + OF_THREE) / float(users.sum())
    return float(max(likely + SPREADS * np.sqrt(likely / num), OF_THREE / num))


def _has_season(values: NDArray[np.float64], weekdays: NDArray[np.int64]) -> bool:
    """Whether the weekdays' means differ by more than chance, by the F statistic of one-way variance."""
    counts = np.bincount(weekdays, minlength=DAYS)
    if counts.min() < LEAST_WEEKS:
        return False
    means = np.bincount(weekdays, values, DAYS) / counts
    between = (counts * (means - values.mean()) ** 2).sum() / (DAYS - 1)
    within = ((values - means[weekdays]) ** 2).sum() / (len(values) - DAYS)
    return bool(between > SEASON_F * within)


def _within_weekdays(
    values: NDArray[np.float64], weekdays: NDArray[np.int64], weekday: int
) -> tuple[float, NDArray[np.float64]]:
    """The mean of a weekday, and how far each value lay from the mean of the other weeks' same days."""
    counts = np.bincount(weekdays, minlength=DAYS)
    means = np.bincount(weekdays, values, DAYS) / np.maximum(counts, 1)
    others = counts[weekdays] / np.maximum(counts[weekdays] - 1, 1)
    return float(means[weekday]), (values - means[weekdays]) * others
