"""The exception of a bad request, and that of a bad graph."""

from __future__ import annotations

__all__ = ["BadRequest", "PlanError", "ServerFault"]


class BadRequest(ValueError):
    """A request that cannot be answered: one sentence for the caller, with what came and what was expected."""


class ServerFault(BadRequest):
    """The answer to a request that was good and failed all the same: a bug, which the server's log names."""

    def __init__(self) -> None:
        super().__init__("the server could not answer this request; its log says why")


class PlanError(ValueError):
    """A graph whose operators do not fit together: one sentence that names the operator."""
