"""Why a request cannot be asked again."""

from __future__ import annotations

from workflows.core.errors import ArtefactError, CascadeError

__all__ = ["AnswerError", "NotReplayableError"]


class NotReplayableError(CascadeError):
    """A logged request, or the version that is to answer it, is not there any more; or not all of it was logged."""


class AnswerError(ArtefactError):
    """A version that raises at one question; it may answer the next."""
