"""Hard rules, which no advantage outweighs: who opted out, whose night it is, who had enough."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from models.send_gate.config import NotifyConfig, PushCap
from workflows.core.errors import ConfigError, DataError

__all__ = ["EPOCH", "Clocks", "is_quiet", "local_day", "room"]

EPOCH = datetime(1970, 1, 1).toordinal()
CLOCK = r"([01]\d|2[0-3]):([0-5]\d)"
QUIET_HOURS = re.compile(f"{CLOCK}-{CLOCK}", re.ASCII)
UNLIMITED = np.iinfo(np.int64).max


class Clocks:
    """The users' clocks at one instant.

    Args:
        now: with its zone.
        zones: name of a zone for each row, "" for the default.
        config: the default zone.

    Attributes:
        days: int64, the date of each row on its user's calendar, days since 1970.
        minutes: int64, since midnight on the user's clock.

    Raises:
        DataError, ConfigError: a zone is unknown.
    """

    def __init__(self, now: datetime, zones: NDArray, config: NotifyConfig) -> None:
        names, place = np.unique(zones, return_inverse=True)
        local = [now.astimezone(_zone(str(name)) if name else _default(config)) for name in names]
        days = np.array([one.toordinal() - EPOCH for one in local], np.int64)
        minutes = np.array([one.hour * 60 + one.minute for one in local], np.int64)
        self.days, self.minutes = days[place], minutes[place]


def local_day(now: datetime, config: NotifyConfig) -> int:
    """The date in the default zone, days since 1970.

    Raises:
        ConfigError: the zone is unknown.
    """
    return now.astimezone(_default(config)).toordinal() - EPOCH


def is_quiet(minutes: NDArray[np.int64], quiet_hours: str) -> NDArray[np.bool_]:
    """Whether nothing may be sent at these minutes of the day.

    Args:
        minutes: since midnight.
        quiet_hours: of the config; its end is outside.

    Raises:
        ConfigError: they are no two different times.
    """
    if not quiet_hours:
        return np.zeros(len(minutes), bool)
    found = QUIET_HOURS.fullmatch(quiet_hours)
    begin, end = (int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])) if found else (0, 0)
    if begin == end:
        raise ConfigError(
            "config: send_gate.notify.quiet_hours: expected two different times such as 22:00-08:00, got "
            f"{quiet_hours!r}"
        )
    if begin < end:
        return np.asarray((minutes >= begin) & (minutes < end))
    return np.asarray((minutes >= begin) | (minutes < end))


def room(days: NDArray[np.int64], users: NDArray, sent: tuple[NDArray, NDArray], caps: Sequence[PushCap]) -> NDArray:
    """How many more pushes the caps leave each row's user, int64 [N], of the sends so far; below 0: none.

    Args:
        days: dates of today, [N].
        users: [N].
        sent: users and dates of earlier sends.
        caps: all of them hold.
    """
    found = np.full(len(users), UNLIMITED)
    names, place = np.unique(users, return_inverse=True)
    today = np.zeros(len(names), np.int64)
    np.maximum.at(today, place, days)
    known = np.isin(sent[0], names)
    of_send, day_of_send = np.searchsorted(names, sent[0][known]), sent[1][known]
    for cap in caps:
        recent = day_of_send > today[of_send] - cap.days
        counts = np.bincount(of_send[recent], minlength=len(names))
        found = np.minimum(found, (cap.pushes - counts)[place])
    return found


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise DataError(
            f"time_zone {name!r} of a candidate is none that this machine knows; expected names such as Europe/Berlin"
        ) from None


def _default(config: NotifyConfig) -> ZoneInfo:
    try:
        return _zone(config.time_zone)
    except DataError:
        raise ConfigError(
            f"config: send_gate.notify.time_zone: {config.time_zone!r} is no time zone that this machine knows; "
            "expected a name such as Europe/Berlin"
        ) from None
