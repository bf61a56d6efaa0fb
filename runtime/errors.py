"""The one exception that a request can cause."""

from __future__ import annotations

__all__ = ["BadRequest"]


class BadRequest(ValueError):
    """A request that cannot be answered: one sentence for the caller, with what came and what was expected."""
