"""The exception of a bad request, and that of a bad graph."""

from __future__ import annotations

__all__ = ["BadRequest", "PlanError"]


class BadRequest(ValueError):
    """A request that cannot be answered: one sentence for the caller, with what came and what was expected."""


class PlanError(ValueError):
    """A graph whose operators do not fit together: one sentence that names the operator."""
