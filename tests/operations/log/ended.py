"""A program that is ended at one of its changes of a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

__all__ = ["ended_at"]


@contextmanager
def ended_at(monkeypatch: pytest.MonkeyPatch, step: int, names: Sequence[str]) -> Iterator[pytest.MonkeyPatch]:
    """Raise KeyboardInterrupt in the place of the step-th call, from 0, of some methods of Path; gives the patch."""
    left = step

    def ending(call: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left == -1:
            raise KeyboardInterrupt
        return call(*arguments, **options)

    with monkeypatch.context() as patch:
        for name in names:
            call = getattr(Path, name)
            patch.setattr(Path, name, lambda *a, call=call, **o: ending(call, *a, **o))
        yield patch
