"""Lengths of time as people write them: "90s", "30m", "1h", "7d"."""

from __future__ import annotations

import re

__all__ = ["seconds_of"]

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
TEXT = re.compile(r"([1-9]\d{0,6})([smhd])")


def seconds_of(text: str) -> int:
    """Seconds of a length of time.

    Raises:
        ValueError: it is written in another way.
    """
    found = TEXT.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no length of time; write a number and s, m, h or d, such as 30m, 1h or 7d")
    return int(found[1]) * SECONDS[found[2]]
