"""What the tests of live events share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def few_rows_compared() -> Iterator[None]:
    """An export of a test compares fewer rows with the live state; test_stream_parity.py has all of them."""
    from ensemble.export import stream_parity

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream_parity, "NUM_ROWS", 50)
        yield
