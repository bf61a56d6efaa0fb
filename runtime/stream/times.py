"""When events happened: the texts of `at` as nanoseconds since 1970 in UTC."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray

from runtime.errors import BadRequest

__all__ = ["instant", "instants", "of_whole_numbers"]

SECOND = 10**9
LARGEST = 2**63 - 1
# What a number counts, by its size: seconds until the year 5138, then milliseconds, microseconds, nanoseconds.
UNITS = ((10**11, SECOND), (10**14, 10**6), (10**17, 10**3))
FAST_DIGITS = 18
EPOCH = date(1970, 1, 1).toordinal()
NUMBER = re.compile(r"(?P<sign>-?)(?P<whole>\d+)(?:\.(?P<part>\d*))?", re.ASCII)
ISO = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
    r"(?:[Tt ](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<part>\d+))?)?"
    r" ?(?P<zone>[Zz]|(?P<sign>[+-])(?P<zone_hour>\d\d)(?::?(?P<zone_minute>\d\d))?)?)?",
    re.ASCII,
)


def instants(texts: Sequence[bytes], received_at: int | NDArray[np.int64]) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Read the times of events.

    Args:
        texts: n, as `instant` takes them; b"" means when the event arrived.
        received_at: when they arrived, nanoseconds; or int64 [n], when each did.

    Returns:
        int64 [n], and why a text is no time, by its place; the place holds `received_at`.
    """
    at = np.full(len(texts), received_at, np.int64)
    given = np.array(texts, f"S{FAST_DIGITS + 1}")
    lengths = np.char.str_len(given)
    digits = np.char.isdigit(given) & (lengths <= FAST_DIGITS)
    numbers = given[digits].astype(np.int64)
    units = np.ones(len(numbers), np.int64)
    for limit, unit in reversed(UNITS):
        units[numbers < limit] = unit
    fits = numbers <= LARGEST // units
    at[np.flatnonzero(digits)[fits]] = numbers[fits] * units[fits]
    digits[digits] = fits
    reasons = {}
    for place in np.flatnonzero(~digits & (lengths > 0)).tolist():
        try:
            at[place] = instant(texts[place])
        except BadRequest as error:
            reasons[place] = str(error)
    return at, reasons


def of_whole_numbers(numbers: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The same of numbers [n] as nanoseconds; None where one is negative, or may lie behind the year 2262."""
    if len(numbers) and (numbers.min() < 0 or numbers.max() >= 10**FAST_DIGITS):
        return None
    units = np.ones(len(numbers), np.int64)
    for limit, unit in reversed(UNITS):
        units[numbers < limit] = unit
    return None if (numbers > LARGEST // units).any() else numbers * units


def instant(text: bytes) -> int:
    """Nanoseconds since 1970 of one text: ISO 8601 with a zone, or a number of s, ms, us or ns since 1970.

    Digits beyond nanoseconds are dropped.

    Raises:
        BadRequest: it is no time, has no zone, or lies before 1970 or behind the year 2262.
    """
    said = text.decode("utf-8", "backslashreplace").strip()
    if found := NUMBER.fullmatch(said):
        found_at = _of_number(found)
    elif found := ISO.fullmatch(said):
        found_at = _of_iso(found, said)
    else:
        raise BadRequest(
            f"at {said!r:.60} is no time; give ISO 8601 with a zone, like 2026-03-29T02:30:00+01:00, or a number of "
            "seconds, ms, us or ns since 1970; without `at` the event happened when it arrived"
        )
    if not 0 <= found_at <= LARGEST:
        where = "before 1970" if found_at < 0 else "behind the year 2262"
        raise BadRequest(f"at {said!r:.60} lies {where}, which no event can; leave `at` out to take the arrival")
    return found_at


def _of_number(found: re.Match[str]) -> int:
    whole = int(found["whole"])
    unit = next((unit for limit, unit in UNITS if whole < limit), 1)
    size = whole * unit + _fraction(found["part"], len(str(unit)) - 1)
    return -max(size, 1) if found["sign"] else size


def _of_iso(found: re.Match[str], said: str) -> int:
    if found["zone"] is None:
        example = said if found["hour"] else f"{said}T00:00:00"
        raise BadRequest(f"at {said!r} has no zone; add Z for UTC or the distance to it: {example}Z, {example}+01:00")
    hour, minute, second, zone_hour, zone_minute = (
        int(found[name] or 0) for name in ("hour", "minute", "second", "zone_hour", "zone_minute")
    )
    try:
        day = date(int(found["year"]), int(found["month"]), int(found["day"])).toordinal() - EPOCH
    except ValueError:
        raise BadRequest(f"at {said!r} is no day of the calendar") from None
    if hour > 23 or minute > 59 or second > 59 or zone_hour > 23 or zone_minute > 59:
        raise BadRequest(f"at {said!r} is no time of a day; hours go to 23, minutes and seconds to 59")
    ahead = (zone_hour * 60 + zone_minute) * (-60 if found["sign"] == "-" else 60)
    seconds = ((day * 24 + hour) * 60 + minute) * 60 + second - ahead
    return seconds * SECOND + _fraction(found["part"], 9)


def _fraction(part: str | None, num_digits: int) -> int:
    """The digits behind a point, in units of 10**-num_digits."""
    return int((part or "").ljust(num_digits, "0")[:num_digits] or 0)
