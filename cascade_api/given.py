"""What is given to a run: lists of ids and a context, where Python would take a text for a list of letters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from workflows.core.errors import RequestError

__all__ = ["mapping", "several"]


def several(called: str, values: Any) -> list[Any]:
    """Raw ids as a list; None: there are none.

    Raises:
        RequestError: it is one id, or none at all.
    """
    if values is None:
        return []
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise RequestError(f"{called} must be a list of ids, got {values!r}")
    return list(values)


def mapping(context: Any) -> Mapping[str, Any]:
    """Values by context column; None: there are none.

    Raises:
        RequestError: it is something else.
    """
    if context is not None and not isinstance(context, Mapping):
        raise RequestError(f"context must be a dict of values by context column, got {context!r}")
    return context or {}
