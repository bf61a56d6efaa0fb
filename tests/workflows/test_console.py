"""What the commands print."""

from __future__ import annotations

import pytest

from workflows.core.console import duration


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (60.4, "1 min 0 s"), (185.0, "3 min 5 s"), (7450.0, "2 h 4 min")],
)
def test_a_duration_is_said_as_a_person_says_it(seconds: float, said: str) -> None:
    assert duration(seconds) == said
