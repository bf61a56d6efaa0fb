"""The texts of `at`: one instant however it is said, and a sentence for what is none."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from runtime.errors import BadRequest
from runtime.stream.times import instant, instants

# 2026-03-29T01:40:00Z, shortly after the clocks of Berlin went from 02:00 to 03:00.
AT = 1_774_748_400 * 10**9
ARRIVAL = 1_800_000_000 * 10**9


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-29T02:40:00+01:00",
        "2026-03-29T02:40+0100",
        "2026-03-29t02:40:00.000+01",
        "2026-03-28 20:40:00 -05:00",
        "2026-03-29T01:40Z",
        "2026-03-29T01:40:00z",
        "1774748400",
        "1774748400.000",
        "1774748400000",
        "1774748400000000",
        "1774748400000000000",
        " 1774748400 ",
    ],
)
def test_one_instant_however_it_is_said(text: str) -> None:
    assert instant(text.encode()) == AT
    assert instants([text.encode()], ARRIVAL) == (np.array([AT]), {})


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1774748400.123456789", 123_456_789),
        ("1774748400.5", 500_000_000),
        ("1774748400123.25", 123_250_000),
        ("2026-03-29T01:40:00.1234567891Z", 123_456_789),
        ("2026-03-29T01:40:00,5Z", 500_000_000),
        ("1774748400000000001", 1),
    ],
)
def test_parts_of_seconds_are_exact(text: str, nanoseconds: int) -> None:
    assert instant(text.encode()) == AT + nanoseconds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "2026-03-29T02:30",
            r"no zone; add Z for UTC or the distance to it: 2026-03-29T02:30Z, 2026-03-29T02:30\+",
        ),
        ("2026-03-29", "has no zone; .* 2026-03-29T00:00:00Z"),
        ("yesterday", "is no time; give ISO 8601 with a zone, like 2026-03-29T02:30:00"),
        ("1.7e9", "is no time"),
        ("-1", "lies before 1970"),
        ("1969-12-31T23:59:59Z", "lies before 1970"),
        ("1970-01-01T00:30:00+01:00", "lies before 1970"),
        ("9223372036854775808", "lies behind the year 2262"),
        ("23523537000", "lies behind the year 2262"),
        ("2263-01-01T00:00:00Z", "lies behind the year 2262"),
        ("2026-02-29T00:00:00Z", "no day of the calendar"),
        ("2026-02-28T24:00:00Z", "no time of a day"),
        ("٢٠٢٦", "is no time"),
    ],
)
def test_what_is_no_instant_is_refused_with_the_way_out(text: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        instant(text.encode())


def test_many_at_once_are_the_same_as_one_by_one() -> None:
    rng = np.random.default_rng(0)
    texts = []
    for second in rng.integers(2**27, 2**33, 300).tolist():
        zone = timezone(timedelta(minutes=int(rng.integers(-14 * 60, 14 * 60))))
        then = datetime.fromtimestamp(second, zone)
        texts += [str(second), f"{second}000", f"{second}.25", then.isoformat(), ""]
    at, reasons = instants([text.encode() for text in [*texts, "no"]], ARRIVAL)
    assert [*reasons] == [len(texts)]
    assert at.tolist() == [instant(text.encode()) if text else ARRIVAL for text in texts] + [ARRIVAL]
    expected = [second * 10**9 for second in map(int, texts[0::5])]
    assert at[0:-1:5].tolist() == at[1:-1:5].tolist() == at[3:-1:5].tolist() == expected


def test_numbers_of_any_size_are_read_or_refused_alike_alone_and_among_others() -> None:
    texts = [str(digit * 10**exponent).encode() for exponent in range(20) for digit in (1, 9)]
    at, reasons = instants(texts, ARRIVAL)
    for place, text in enumerate(texts):
        try:
            assert at[place] == instant(text)
        except BadRequest as error:
            assert reasons[place] == str(error)
    assert 0 < len(reasons) < len(texts)
